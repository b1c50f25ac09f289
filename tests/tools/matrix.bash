# Reading and running the cells of tests/matrix. Sourced after cmake/setup.bash; expects `root`.

matrix_rows() { sed -e '/^#/d' -e '/^[[:space:]]*$/d' "$root/tests/matrix"; }
matrix_names() { matrix_rows | awk -F'|' '{ gsub(/ /, "", $1); print $1 }'; }
matrix_field() { # NAME COLUMN
    matrix_rows | awk -F'|' -v name="$1" -v column="$2" '
        { key = $1; gsub(/ /, "", key) }
        key == name { value = $column; gsub(/^ +| +$/, "", value); print value; exit }'
}

# cell_count NAME: how many cases it had when they were last counted, 0 if never
cell_count() { awk -v name="$1" '$1 == name { n = $2 } END { print n + 0 }' "$root/tests/counts" 2>/dev/null || echo 0; }

lavapipe_icd() {
    local icd
    icd=$(compgen -G "/usr/share/vulkan/icd.d/lvp_icd*.json" | head -n 1) || true
    [[ -n $icd ]] || { say "no lavapipe: install mesa-vulkan-drivers"; return 1; }
    echo "$icd"
}

# build_cell_folder release|asan: the build folder, brought up to date
build_cell_folder() {
    case $1 in
    release)
        configure "$root/build" >&2
        build "$root/build" >&2
        echo "$root/build"
        ;;
    asan)
        configure "$root/build-asan" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DTUFF_SANITIZE=address,undefined >&2
        build "$root/build-asan" >&2
        echo "$root/build-asan"
        ;;
    *) say "tests/matrix: there is no build \"$1\""; return 1 ;;
    esac
}

# run_cell NAME SECONDS, CELL_SLICE=K/N in the environment for every Nth program from the Kth on: prints what failed and last `N passed, N failed`; a time-out or a driver that cannot be had
# is a failure, and so are fewer cases than were counted before.
run_cell() {
    local name=$1 limit=$2 driver build what environment folder icd log status=0 passed=0 failed=0 expected
    driver=$(matrix_field "$name" 2)
    build=$(matrix_field "$name" 3)
    what=$(matrix_field "$name" 4)
    environment=$(matrix_field "$name" 5)
    [[ -n $driver ]] || { say "tests/matrix has no cell \"$name\""; echo "0 passed, 1 failed"; return 1; }
    folder=$(build_cell_folder "$build") || { echo "0 passed, 1 failed"; return 1; }
    log=$folder/cell-$name.log

    local command=("$root/tests/tools/suite" "$folder")
    [[ $what == suite ]] || command=("$root/tests/$what/run" "$folder")
    [[ -z ${CELL_SLICE:-} ]] || command+=(-I "${CELL_SLICE%/*},,${CELL_SLICE#*/}")
    local variables=($environment SUITE_LOG="$folder/tests-$name.log"
        ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1
        LSAN_OPTIONS="suppressions=$root/tests/tools/leaks.supp:print_suppressions=0")
    case $driver in
    system) icd=$(lavapipe_icd) || status=1 ;;
    swiftshader) icd=$("$root/tests/tools/swiftshader-icd") || status=1 ;;
    both) icd=$(lavapipe_icd):$("$root/tests/tools/swiftshader-icd") || status=1 ;;
    newest)
        # the making of the root is not the cell's time
        "$root/tests/tools/newest-vulkan" true || status=1
        command=("$root/tests/tools/newest-vulkan" "${command[@]}")
        icd=
        ;;
    esac
    if [[ $status != 0 ]]; then
        say "cell $name: the driver \"$driver\" cannot be had"
        echo "0 passed, 1 failed"
        return 1
    fi
    [[ -z $icd ]] || variables+=(VK_ICD_FILENAMES="$icd" VK_DRIVER_FILES="$icd")

    env "${variables[@]}" timeout --kill-after=20 "$limit" "${command[@]}" >"$log" 2>&1 </dev/null || status=$?
    local last
    last=$(tail -n 1 "$log")
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=${BASH_REMATCH[1]} failed=${BASH_REMATCH[2]}
    else
        failed=1
    fi
    if [[ $status == 124 || $status == 137 ]]; then
        say "cell $name: stopped after $limit s"
        # what had passed by then is in the log of the suite
        failed=$((failed > 0 ? failed : 1))
    elif [[ $status != 0 && $failed == 0 ]]; then
        failed=1
    fi
    [[ $failed == 0 ]] || sed '$d' "$log"
    expected=$(cell_count "$name")
    if [[ -z ${CELL_SLICE:-} ]] && ((passed + failed < expected)); then
        say "cell $name: $((passed + failed)) cases, there were $expected before (tests/counts)"
        failed=$((failed + 1))
    fi
    echo "$passed passed, $failed failed"
    [[ $failed == 0 ]]
}
