/* Progress on stderr, the result on stdout. */
#include "report.h"

#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- progress ------------------------------------------------------------------------------- */

void progress_begin(progress *progress, bool silent, int64_t epochs, const char *unit) {
    *progress = (struct progress){ .silent = silent, .epochs = epochs, .unit = unit };
    progress->terminal = isatty(STDERR_FILENO) == 1;
    setlocale(LC_CTYPE, "");
    progress->unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

bool progress_wants(const progress *progress) {
    return !progress->silent && progress->terminal && clock_seconds() - progress->last_draw >= 0.1;
}

static void clear_bar(progress *progress) {
    if (progress->drawn) fputs("\r\033[K", stderr);
    progress->drawn = false;
}

void progress_draw(progress *progress, const progress_state *state) {
    if (progress->silent || !progress->terminal) return;
    char left[80], right[160];
    snprintf(left, sizeof left, "epoch %lld/%lld ", (long long)state->epoch, (long long)progress->epochs);
    long seconds = isfinite(state->seconds_left) ? lround(state->seconds_left) : 0;
    snprintf(right, sizeof right, " %3.0f %%  %s  %.0f %s/s  %ld:%02ld left", 100 * state->done, state->measures,
             state->per_second, progress->unit, seconds / 60, seconds % 60);

    struct winsize size = { .ws_col = 0 };
    int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    int cells = columns - 1 - (int)strlen(left) - (int)strlen(right);
    cells = cells > 32 ? 32 : cells < 0 ? 0 : cells;
    int halves = (int)(2 * cells * state->done + 0.5); /* the Unicode bar moves by half a cell */
    char bar[32 * 3 + 64] = "", *at = bar;
    for (int cell = 0; cell < cells; cell++) {
        bool full = 2 * cell + 1 <= halves;
        if (!progress->unicode) at += sprintf(at, "%s", full ? "#" : "-");
        /* one line in two colours: cyan as far as it is done, grey the rest; ╸ is half a cell */
        else if (full)
            at += sprintf(at, "%s%s", cell == 0 ? "\033[36m" : "", 2 * cell + 1 == halves ? "╸" : "━");
        else
            at += sprintf(at, "%s━", 2 * cell - 1 <= halves || cell == 0 ? "\033[90m" : "");
    }
    if (progress->unicode) sprintf(at, "\033[0m");
    fprintf(stderr, "\r%s%s%s\033[K", left, bar, right);
    fflush(stderr);
    progress->drawn = true;
    progress->last_draw = clock_seconds();
}

void progress_epoch(progress *progress, const char *line) {
    progress_note(progress, "%s", line);
}

void progress_note(progress *progress, const char *format, ...) {
    if (progress->silent) return;
    clear_bar(progress);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

/* ---- failures ------------------------------------------------------------------------------- */

int report_failure(const char *sample, const char *message) {
    fprintf(stderr, "%s%s: %s\n", isatty(STDERR_FILENO) == 1 ? "\r\033[K" : "", sample, message);
    return 1;
}

void report_log(void *sample, tuff_log_level level, const char *message) {
    if (level == TUFF_LOG_INFO) return;
    fprintf(stderr, "%s: %s: %s\n", (const char *)sample, level == TUFF_LOG_ERROR ? "error" : "warning", message);
}

void report_device(progress *progress, const tuff_device_info *info) {
    if (info->type == TUFF_DEVICE_CPU) {
        progress_note(progress, "no GPU is used: this runs on the CPU through the driver %s%s%s", info->driver,
                      info->driver_info[0] != '\0' ? ", " : "", info->driver_info);
    } else {
        progress_note(progress, "%s (%s %s)", info->name, info->driver, info->driver_info);
    }
}

/* ---- the result ------------------------------------------------------------------------------ */

static void json_string(const char *text) {
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else if (*c < 0x20)
            printf("\\u%04x", *c);
        else
            putchar(*c);
    }
    putchar('"');
}

void json_begin(const char *sample) {
    fputs("{\"sample\":", stdout);
    json_string(sample);
}

void json_text(const char *key, const char *value) {
    printf(",\"%s\":", key);
    json_string(value);
}

void json_number(const char *key, double value, int decimals) {
    if (isfinite(value))
        printf(",\"%s\":%.*f", key, decimals, value);
    else
        printf(",\"%s\":null", key);
}

void json_device(const tuff_device_info *info) {
    char driver[sizeof info->driver + sizeof info->driver_info + 2];
    snprintf(driver, sizeof driver, "%s%s%s", info->driver, info->driver_info[0] != '\0' ? " " : "", info->driver_info);
    json_text("device", info->name);
    json_text("driver", driver);
}

void json_end(void) {
    puts("}");
    fflush(stdout);
}
