/* The forecasts as a picture: the whole year, the days around the hottest one, and the errors compared. */
#include "picture.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const truth_color = "#22354f", *const forecast_color = "#e4572e", *const usual_color = "#b9c6d3";
static const char *const text_color = "#22303f", *const quiet_color = "#6b7885";
static const char *const month_names[12] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

/* A chart's place on the picture and what it shows: days [first, last] of the test, temperatures [low, high]. */
typedef struct chart {
    double left, top, width, height;
    uint32_t first, last;
    double low, high;
} chart;

static double chart_x(const chart *c, double day) {
    return c->left + c->width * (day - c->first) / (c->last - c->first);
}

static double chart_y(const chart *c, double temperature) {
    return c->top + c->height * (c->high - temperature) / (c->high - c->low);
}

static const day *test_day(const picture *p, uint32_t i) {
    return &p->series->days[p->series->test_start + i];
}

/* ---- one chart ------------------------------------------------------------------------------ */

static void draw_axes(FILE *f, const picture *p, const chart *c, bool months_only) {
    for (double t = c->low; t <= c->high + 0.1; t += 5) {
        double y = chart_y(c, t);
        fprintf(f, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#e3e8ed'/>\n", c->left, y, c->left + c->width,
                y);
        fprintf(f, "<text x='%.1f' y='%.1f' class='axis' text-anchor='end'>%.0f</text>\n", c->left - 8, y + 4, t);
    }
    fprintf(f, "<text x='%.1f' y='%.1f' class='axis'>°C</text>\n", c->left - 24, c->top - 12);
    for (uint32_t i = c->first; i <= c->last; i++) {
        const day *d = test_day(p, i);
        bool labelled = months_only ? d->day_of_month == 1 : d->day_of_month % 10 == 1 && d->day_of_month < 31;
        if (!labelled) continue;
        double x = chart_x(c, i), bottom = c->top + c->height;
        fprintf(f, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#aab4be'/>\n", x, bottom, x, bottom + 5);
        char label[16];
        if (months_only)
            snprintf(label, sizeof label, "%s", month_names[d->month - 1]);
        else
            snprintf(label, sizeof label, "%d %s", d->day_of_month, month_names[d->month - 1]);
        double at = months_only ? chart_x(c, i + 15) : x;
        if (at > c->left + c->width) continue;
        fprintf(f, "<text x='%.1f' y='%.1f' class='axis' text-anchor='middle'>%s</text>\n", at, bottom + 20, label);
    }
    fprintf(f, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#aab4be'/>\n", c->left, c->top + c->height,
            c->left + c->width, c->top + c->height);
}

/* A line through the values of the chart's days; values NULL: the truth. */
static void draw_line(FILE *f, const picture *p, const chart *c, const float *values, const char *color, double width) {
    fprintf(f, "<polyline fill='none' stroke='%s' stroke-width='%.1f' stroke-linejoin='round' points='", color, width);
    for (uint32_t i = c->first; i <= c->last; i++) {
        float value = values != NULL ? values[i] : test_day(p, i)->highest;
        fprintf(f, "%.1f,%.1f ", chart_x(c, i), chart_y(c, (double)value));
    }
    fprintf(f, "'/>\n");
}

static void draw_chart(FILE *f, const picture *p, const chart *c, bool whole_year) {
    draw_axes(f, p, c, whole_year);
    draw_line(f, p, c, p->climatology, usual_color, whole_year ? 3 : 4);
    draw_line(f, p, c, NULL, truth_color, whole_year ? 1.3 : 2);
    draw_line(f, p, c, p->forecasts, forecast_color, whole_year ? 1.3 : 2);
    if (whole_year) return;
    for (uint32_t i = c->first; i <= c->last; i++) {
        const double at[2] = { (double)test_day(p, i)->highest, (double)p->forecasts[i] };
        for (int k = 0; k < 2; k++) {
            fprintf(f, "<circle cx='%.1f' cy='%.1f' r='2.6' fill='%s'/>\n", chart_x(c, i), chart_y(c, at[k]),
                    k == 0 ? truth_color : forecast_color);
        }
    }
}

/* ---- the errors ----------------------------------------------------------------------------- */

static void draw_errors(FILE *f, const picture *p, double left, double top, double width) {
    const struct {
        const char *name, *how, *color;
        double mae;
    } bars[] = {
        { "This network", "", forecast_color, p->mae },
        { "Persistence", "— as warm as today", "#8d99a6", p->mae_persistence },
        { "Climatology", "— as usual on that date", usual_color, p->mae_climatology },
    };
    double most = fmax(p->mae, fmax(p->mae_persistence, p->mae_climatology));
    for (int i = 0; i < 3; i++) {
        double y = top + 58 * i, length = (width - 75) * bars[i].mae / most;
        fprintf(f,
                "<text x='%.1f' y='%.1f' class='label'><tspan font-weight='600'>%s</tspan><tspan "
                "dx='5' fill='%s'>%s</tspan></text>\n",
                left, y, bars[i].name, quiet_color, bars[i].how);
        fprintf(f, "<rect x='%.1f' y='%.1f' width='%.1f' height='20' rx='3' fill='%s'/>\n", left, y + 8, length,
                bars[i].color);
        fprintf(f, "<text x='%.1f' y='%.1f' class='label' font-weight='600'>%.2f °C</text>\n", left + length + 10,
                y + 23, bars[i].mae);
    }
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void draw_legend(FILE *f, double left, double y) {
    const struct {
        const char *name, *color;
        double width;
    } lines[] = { { "measured", truth_color, 94 },
                  { "forecast the day before", forecast_color, 186 },
                  { "usual on that date", usual_color, 0 } };
    for (int i = 0; i < 3; i++) {
        fprintf(f, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='%s' stroke-width='3'/>\n", left, y - 4,
                left + 24, y - 4, lines[i].color);
        fprintf(f, "<text x='%.1f' y='%.1f' class='label'>%s</text>\n", left + 32, y, lines[i].name);
        left += 32 + lines[i].width;
    }
}

static void find_range(const picture *p, uint32_t first, uint32_t last, chart *c) {
    c->first = first;
    c->last = last;
    double low = INFINITY, high = -INFINITY;
    for (uint32_t i = first; i <= last; i++) {
        const double values[3] = { (double)test_day(p, i)->highest, (double)p->forecasts[i],
                                   (double)p->climatology[i] };
        for (int k = 0; k < 3; k++) {
            low = fmin(low, values[k]);
            high = fmax(high, values[k]);
        }
    }
    c->low = 5 * floor(low / 5);
    c->high = 5 * ceil(high / 5);
    if (c->high <= c->low) c->high = c->low + 5;
}

static void draw(FILE *f, const picture *p) {
    const series *s = p->series;
    uint32_t days = s->count - s->test_start, hottest = 0;
    for (uint32_t i = 1; i < days; i++) {
        if (test_day(p, i)->highest > test_day(p, hottest)->highest) hottest = i;
    }
    const uint32_t around = days > 46 ? 46 : days - 1;
    uint32_t zoom = hottest < around / 2 ? 0 : hottest - around / 2;
    if (zoom + around > days - 1) zoom = days - 1 - around;

    fprintf(f, "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1120 700' width='1120' height='700' "
               "font-family=\"Inter, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\">\n");
    fprintf(f,
            "<style>.axis{font-size:12px;fill:%s}.label{font-size:13px;fill:%s}.head{font-size:15px;"
            "font-weight:600;fill:%s}</style>\n",
            quiet_color, text_color, text_color);
    fprintf(f, "<rect width='1120' height='700' fill='#ffffff'/>\n");
    fprintf(
        f, "<text x='40' y='46' font-size='24' font-weight='700' fill='%s'>Tomorrow's highest temperature, %d</text>\n",
        text_color, test_day(p, 0)->year);
    fprintf(f,
            "<text x='40' y='70' font-size='14' fill='%s'>Each day forecast from the 30 days before it, by a network "
            "that learned from %d to %d</text>\n",
            quiet_color, s->days[0].year, test_day(p, 0)->year - 1);
    draw_legend(f, 588, 46);

    chart year = { .left = 72, .top = 108, .width = 1012, .height = 250 };
    find_range(p, 0, days - 1, &year);
    draw_chart(f, p, &year, true);

    fprintf(f, "<text x='40' y='422' class='head'>Around the hottest day</text>\n");
    chart close = { .left = 72, .top = 456, .width = 580, .height = 196 };
    find_range(p, zoom, zoom + around, &close);
    draw_chart(f, p, &close, false);

    fprintf(f, "<text x='720' y='422' class='head'>How far off, on the average day</text>\n");
    draw_errors(f, p, 720, 456, 364);
    fprintf(f, "<text x='720' y='652' class='axis'>Mean absolute error over the %u days of %d.</text>\n", days,
            test_day(p, 0)->year);
    fprintf(f, "</svg>\n");
}

bool picture_write(const picture *p, const char *path, char *message, size_t message_size) {
    FILE *f = fopen(path, "w");
    if (f == NULL) {
        snprintf(message, message_size, "%s: cannot be written: %s", path, strerror(errno));
        return false;
    }
    draw(f, p);
    bool good = ferror(f) == 0;
    good = fclose(f) == 0 && good;
    if (!good) snprintf(message, message_size, "%s: cannot be written: %s", path, strerror(errno));
    return good;
}
