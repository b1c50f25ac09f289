# What samples/run, tests/run, tests/all and .ci/run share: installing what is missing, configuring,
# building. Sourced; expects `root`, the checkout. Everything it says goes to stderr.

# Debian's names, the same in Debian 12, 13 and Ubuntu 24.04.
packages_build=(cmake ninja-build gcc libc6-dev pkg-config libvulkan-dev libvulkan-volk-dev glslang-tools spirv-tools
    libvulkan1 libjansson-dev zlib1g-dev)
packages_test=(g++ binutils libcmocka-dev vulkan-validationlayers python3 python3-numpy python3-torch)
# Python's own reader of safetensors, which Debian has since 13
if [[ -e /etc/os-release ]] && (. /etc/os-release && [[ ${ID:-} == debian && ${VERSION_ID:-0} -ge 13 ]]); then
    packages_test+=(python3-safetensors)
fi

me=${BASH_SOURCE[-1]#"$root/"} # "samples/run"
say() { echo "$me: $*" >&2; }
fail() { say "$*"; exit 1; }

# Is any Vulkan driver there? (the files that the loader would read)
has_vulkan_driver() {
    [[ -n ${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-} ]] && return 0
    local folder
    for folder in /etc/vulkan/icd.d /usr/share/vulkan/icd.d /usr/local/share/vulkan/icd.d \
        "${XDG_DATA_HOME:-$HOME/.local/share}/vulkan/icd.d"; do
        compgen -G "$folder/*.json" >/dev/null && return 0
    done
    return 1
}

# missing_packages NAME ...: those of them that are not installed
missing_packages() {
    # dpkg-query fails when it has never heard of one of them: that one is missing, too
    { dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true; } |
        awk -v want="$*" '$2 == "installed" { have[$1] = 1 }
            END { n = split(want, w, " "); for (i = 1; i <= n; i++) if (!(w[i] in have)) print w[i] }'
}

# need_packages NAME ...: installs those that are missing, after one line that says which
need_packages() {
    local missing as_root=() log
    if ! command -v dpkg-query >/dev/null; then
        local program
        for program in cmake ninja cc pkg-config glslangValidator spirv-val; do
            command -v $program >/dev/null ||
                fail "not a Debian or Ubuntu, and $program is missing: install what docs/building.md lists"
        done
        return 0
    fi
    has_vulkan_driver || set -- "$@" mesa-vulkan-drivers
    missing=$(missing_packages "$@")
    [[ -n $missing ]] || return 0
    missing=$(echo $missing)
    if [[ $(id -u) != 0 ]]; then
        command -v sudo >/dev/null || fail "missing packages; as root run: apt-get install $missing"
        as_root=(sudo)
    fi
    say "installing with apt: $missing"
    log=$(mktemp)
    # a fresh system has no lists of packages yet, an old one may have stale ones: the second try updates them
    apt_install() {
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing \
            >>"$log" 2>&1 </dev/null
    }
    if ! apt_install; then
        "${as_root[@]}" apt-get update -qq >>"$log" 2>&1 </dev/null || true
        apt_install || { tail -n 15 "$log" >&2; rm -f "$log"; fail "apt-get install failed"; }
    fi
    rm -f "$log"
}

# configure FOLDER [cmake options]: once; ninja itself sees when the lists change
configure() {
    local build=$1
    shift
    if [[ -e $build/CMakeCache.txt ]]; then
        grep -q '^CMAKE_GENERATOR:INTERNAL=Ninja$' "$build/CMakeCache.txt" &&
            grep -q "^CMAKE_HOME_DIRECTORY:INTERNAL=$root\$" "$build/CMakeCache.txt" ||
            fail "$build was configured by something else (another generator, or a checkout that was moved): remove it"
        [[ -e $build/build.ninja ]] && return 0
    fi
    mkdir -p "$build"
    if ! cmake -S "$root" -B "$build" -G Ninja "$@" >"$build/configure.log" 2>&1 </dev/null; then
        cat "$build/configure.log" >&2
        fail "cmake failed (the above is $build/configure.log)"
    fi
}

# build FOLDER [targets]: ninja's own progress on a terminal, silence elsewhere unless it fails
build() {
    local build=$1 status=0
    shift
    if [[ -t 2 ]]; then
        # awk never fails, so that with pipefail the status is ninja's
        NINJA_STATUS="building [%f/%t] " ninja -C "$build" "$@" 2>&1 </dev/null | build_progress >&2 || status=1
    else
        ninja -C "$build" "$@" >"$build/build.log" 2>&1 </dev/null || status=$?
        [[ $status == 0 ]] || tail -n 60 "$build/build.log" >&2
    fi
    [[ $status == 0 ]] || fail "the build failed"
}

# ninja prints a line for each step when its output is a pipe: show them on one line
build_progress() {
    awk '/^ninja: no work to do|^ninja: Entering|Re-checking globbed/ { next }
        /^building \[/ { printf "\r\033[K%.*s", 100, $0; fflush(); open = 1; next }
        { if (open) print ""; open = 0; print; fflush() }
        END { if (open) printf "\r\033[K" }'
}

# with_lock FOLDER COMMAND ...: two of our commands at once must not build in the same folder at once
with_lock() {
    local folder=$1 lock
    shift
    mkdir -p "$folder"
    exec {lock}>"$folder/.lock"
    flock "$lock"
    "$@"
    exec {lock}>&-
}
