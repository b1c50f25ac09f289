/* tuff bench start and first-step: from compiling a program to the end of its first step.
 *
 * What is cached, by the driver or by Tuff, lies under XDG_CACHE_HOME, and a process that has compiled a kernel keeps
 * it. So each figure is a process of its own, this program as `tuff bench first-step`: once with an empty folder, then
 * with what that left there. */
#include "networks.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- one process --------------------------------------------------------------------------------- */

static void report_seconds(const bench *bench, const char *name, const char *shape, double seconds, double ratio,
                           const char *ratio_to) {
    measurement m = {
        .bench = name, .shape = shape, .seconds = seconds, .rate = seconds, .unit = "s", .host_clock = true
    };
    measurement_compare(&m, ratio, ratio_to);
    report(bench, &m);
}

static bool first_step(const bench *bench, const network_kind *kind) {
    network net;
    bool good = network_open(bench, kind, &net);
    double start = bench_seconds(), compiled = 0;
    good = good && network_compile(&net, TUFF_PROFILE_NONE);
    compiled = bench_seconds() - start;
    good = good && network_step(&net) && (tuff_device_wait(bench->device) == TUFF_OK || bench_failed(kind->name));
    double whole = bench_seconds() - start;
    if (good) report_seconds(bench, "first_step", net.shape, whole, compiled / whole, "compiling the program");
    network_close(&net);
    return good;
}

bool bench_first_step(const bench *bench) {
    return networks_each(bench, first_step);
}

/* ---- with caches and without --------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place) {
    (void)status, (void)kind, (void)place;
    return remove(path);
}

static void remove_folder(const char *path) {
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* In the child: this program again. Returns only if it cannot be started. */
static void become_first_step(const bench *bench, const char *network, const char *cache, int out) {
    char self[4096], batch[32];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) return;
    self[length] = 0;
    const char *words[16] = { self, "bench", "first-step", "--json", "--network", network };
    int count = 6;
    if (bench->options.device) words[count++] = "--device", words[count++] = bench->options.device;
    if (bench->options.small) words[count++] = "--small";
    if (bench->options.batch) {
        snprintf(batch, sizeof batch, "%lld", (long long)bench->options.batch);
        words[count++] = "--batch", words[count++] = batch;
    }
    setenv("XDG_CACHE_HOME", cache, 1);
    unsetenv("MESA_SHADER_CACHE_DIR"); /* Mesa would look there first, */
    unsetenv("TUFF_CACHE");            /* and Tuff there */
    if (dup2(out, STDOUT_FILENO) >= 0) execv(self, (char *const *)words);
}

/* What a first-step says: one line of JSON. */
static bool read_line(FILE *from, char shape[96], double *seconds) {
    char line[1024];
    bool good = false;
    while (fgets(line, sizeof line, from)) {
        const char *at = strstr(line, "\"shape\":\""), *time = strstr(line, "\"time\":");
        if (at && time)
            good = sscanf(at, "\"shape\":\"%95[^\"]", shape) == 1 && sscanf(time, "\"time\":%lf", seconds) == 1;
    }
    return good;
}

/* Seconds that a process of its own says, with this folder of caches; below 0 after a failure. */
static double run_child(const bench *bench, const char *network, const char *cache, char shape[96]) {
    int ends[2], status = 1;
    double seconds = -1;
    if (pipe(ends) != 0) return -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        become_first_step(bench, network, cache, ends[1]);
        _exit(127);
    }
    close(ends[1]);
    FILE *from = child > 0 ? fdopen(ends[0], "r") : NULL;
    bool good = from && read_line(from, shape, &seconds);
    if (from)
        fclose(from);
    else
        close(ends[0]);
    if (child > 0) waitpid(child, &status, 0);
    if (good && status == 0) return seconds;
    fprintf(stderr, "tuff bench: start: the process for the first step of %s failed\n", network);
    return -1;
}

/* Medians, of empty folders and of what is left in them; three are enough, and each takes seconds. */
static bool start(const bench *bench, const network_kind *kind) {
    enum { MOST = 3 };
    double empty[MOST], warm[MOST];
    char shape[96], text[128];
    int runs = bench->options.runs < MOST ? bench->options.runs : MOST;
    const char *temporary = getenv("TMPDIR");
    for (int i = 0; i < runs; i++) {
        char cache[4096];
        snprintf(cache, sizeof cache, "%s/tuff-bench-XXXXXX", temporary ? temporary : "/tmp");
        if (!mkdtemp(cache)) {
            perror(cache);
            return false;
        }
        empty[i] = run_child(bench, kind->name, cache, shape);
        warm[i] = empty[i] < 0 ? -1 : run_child(bench, kind->name, cache, shape);
        remove_folder(cache);
        if (warm[i] < 0) return false;
    }
    double without = bench_median(empty, runs), with = bench_median(warm, runs);
    snprintf(text, sizeof text, "%s, empty caches", shape);
    report_seconds(bench, "start", text, without, 0, NULL);
    snprintf(text, sizeof text, "%s, caches", shape);
    report_seconds(bench, "start", text, with, with / without, "empty caches");
    return true;
}

bool bench_start(const bench *bench) {
    return networks_each(bench, start);
}
