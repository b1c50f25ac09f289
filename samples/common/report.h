/* What a sample tells while it works (on stderr) and at its end (one line of JSON on stdout). */
#ifndef SAMPLES_REPORT_H
#define SAMPLES_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include <tuff/tuff.h>

/* Seconds on a clock that only goes forward. */
double clock_seconds(void);

/* ---- progress: a bar that is redrawn on a terminal, a plain line for each epoch elsewhere --------- */

typedef struct progress {
    bool silent, terminal, unicode;
    int64_t epochs;
    const char *unit; /* "images" */
    bool drawn;       /* a bar stands on the terminal's last line */
    double last_draw;
} progress;

typedef struct progress_state {
    int64_t epoch;        /* from 1 */
    double done;          /* 0 to 1, of this epoch */
    const char *measures; /* "loss 0.0712  accuracy 97.9 %" */
    double per_second;    /* units */
    double seconds_left;  /* of the whole training */
} progress_state;

void progress_begin(progress *progress, bool silent, int64_t epochs, const char *unit);
/* Whether it is worth while to ask the device for numbers: a bar is drawn ten times a second at most. */
bool progress_wants(const progress *progress);
void progress_draw(progress *progress, const progress_state *state);
/* Ends an epoch with a line that stays. */
void progress_epoch(progress *progress, const char *line);
/* A line for the user beside the bar; nothing when silent. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void progress_note(progress *progress, const char *format, ...);

/* ---- failures ------------------------------------------------------------------------------- */

/* "mnist: message" on stderr; returns 1, the exit status. */
int report_failure(const char *sample, const char *message);

/* A tuff_log_fn: warnings and errors (validation messages are such) go to stderr. */
void report_log(void *sample, tuff_log_level level, const char *message);

/* Says which device works, and that it is the CPU if it is. */
void report_device(progress *progress, const tuff_device_info *info);

/* ---- the result ------------------------------------------------------------------------------ */

void json_begin(const char *sample);
void json_text(const char *key, const char *value);
void json_number(const char *key, double value, int decimals); /* null if not finite */
void json_device(const tuff_device_info *info);                /* "device" and "driver" */
void json_end(void);

#endif
