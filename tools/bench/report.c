/* What was measured, as a row of a table or as objects of JSON. */
#include "bench.h"

#include <stdio.h>

void measurement_compare(measurement *m, double ratio, const char *to) {
    if (!(ratio > 0) || m->ratio_count == sizeof m->ratios / sizeof *m->ratios) return;
    m->ratios[m->ratio_count].ratio = ratio;
    m->ratios[m->ratio_count++].to = to;
}

void measurement_compare_peaks(const bench *bench, measurement *m, double flops, double bytes) {
    if (bench->peak_flops > 0) measurement_compare(m, flops / bench->peak_flops, "multiply-add peak");
    if (bench->peak_bytes > 0) measurement_compare(m, bytes / bench->peak_bytes, "copy peak");
}

/* "key":"text" and a comma. */
static void print_json_text(const char *key, const char *text) {
    printf("\"%s\":\"", key);
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            printf("\\%c", byte);
        else if (byte < 0x20)
            printf("\\u%04x", byte);
        else
            putchar(byte);
    }
    printf("\",");
}

/* One object for each comparison, flat, so that a line can be filtered by itself; ratio null where there is none. */
static void print_json(const char *device, const measurement *m) {
    for (int i = 0; i < m->ratio_count || i == 0; i++) {
        putchar('{');
        print_json_text("bench", m->bench);
        print_json_text("shape", m->shape);
        print_json_text("device", device);
        if (m->dispatch) {
            print_json_text("kernel", m->dispatch->kernel);
            print_json_text("label", m->dispatch->label);
            print_json_text("segment", m->dispatch->segment);
        }
        printf("\"time\":%.6g,\"clock\":\"%s\",\"rate\":%.6g,\"unit\":\"%s\",", m->seconds,
               m->host_clock ? "host" : "device", m->rate, m->unit);
        if (m->ratio_count)
            printf("\"ratio\":%.4g,\"ratio_to\":\"%s\"}\n", m->ratios[i].ratio, m->ratios[i].to);
        else
            printf("\"ratio\":null,\"ratio_to\":null}\n");
    }
}

static void print_seconds(double seconds) {
    double scale = seconds < 1e-3 ? 1e6 : seconds < 1 ? 1e3 : 1;
    printf(" %7.4g %s", seconds * scale, seconds < 1e-3 ? "us" : seconds < 1 ? "ms" : "s ");
}

void report(const bench *bench, const measurement *m) {
    if (bench->options.json) {
        print_json(tuff_device_get_info(bench->device)->name, m);
    } else {
        printf("%-18s %-38s", m->bench, m->shape);
        print_seconds(m->seconds);
        if (m->rate != m->seconds) printf(" %8.4g %s", m->rate, m->unit);
        for (int i = 0; i < m->ratio_count; i++)
            printf("%s %.3f of %s", i ? "," : "  ", m->ratios[i].ratio, m->ratios[i].to);
        putchar('\n');
    }
    fflush(stdout);
}
