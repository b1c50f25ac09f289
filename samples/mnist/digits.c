/* MNIST's digits. */
#include "digits.h"

#include "../common/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CLASSES = 10 };

/* Mean and deviation of all of MNIST's pixels, from 0 to 1. */
static const float pixel_mean = 0.1307f, pixel_deviation = 0.3081f;

/* The full set is found under slightly different names in the world. */
static bool read_array(const char *directory, const char *prefix, const char *kind, int rank, tuff_idx *idx,
                       char *message, size_t message_size) {
    static const char *const forms[] = { "%s/%s-%s-idx%d-ubyte.gz", "%s/%s-%s-idx%d-ubyte", "%s/%s-%s.idx%d-ubyte.gz",
                                         "%s/%s-%s.idx%d-ubyte" };
    char path[4096];
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        snprintf(path, sizeof path, forms[i], directory, prefix, kind, rank);
        if (access(path, F_OK) != 0) continue;
        if (tuff_idx_read(path, idx) != TUFF_OK) {
            snprintf(message, message_size, "%s", tuff_last_message());
            return false;
        }
        if ((int)idx->shape.rank != rank) {
            snprintf(message, message_size, "%s: has %u axes; %d are expected", path, idx->shape.rank, rank);
            return false;
        }
        return true;
    }
    snprintf(message, message_size, "%s: there is no %s-%s-idx%d-ubyte.gz (or without .gz) there", directory, prefix,
             kind, rank);
    return false;
}

static bool check(const char *directory, const char *prefix, const digits *d, char *message, size_t message_size) {
    if (d->images.shape.sizes[0] != d->labels.shape.sizes[0]) {
        snprintf(message, message_size,
                 "%s: %s-images holds %lld images, %s-labels %lld labels: they do not belong together", directory,
                 prefix, (long long)d->images.shape.sizes[0], prefix, (long long)d->labels.shape.sizes[0]);
        return false;
    }
    if (d->height != 28 || d->width != 28) {
        snprintf(message, message_size, "%s: %s-images holds images of %u x %u pixels; the network takes 28 x 28",
                 directory, prefix, d->height, d->width);
        return false;
    }
    for (uint32_t i = 0; i < d->count; i++) {
        if (d->labels.data[i] >= CLASSES) {
            snprintf(message, message_size, "%s: %s-labels: label %u (byte %u) is %u; 0 to 9 are expected", directory,
                     prefix, i, 8 + i, d->labels.data[i]);
            return false;
        }
    }
    return true;
}

bool digits_read(const char *directory, const char *prefix, digits *d, char *message, size_t message_size) {
    *d = (digits){ .count = 0 };
    bool good = read_array(directory, prefix, "images", 3, &d->images, message, message_size)
                && read_array(directory, prefix, "labels", 1, &d->labels, message, message_size);
    if (good) {
        d->count = (uint32_t)d->images.shape.sizes[0];
        d->height = (uint32_t)d->images.shape.sizes[1];
        d->width = (uint32_t)d->images.shape.sizes[2];
        good = check(directory, prefix, d, message, message_size);
    }
    if (!good) digits_free(d);
    return good;
}

void digits_free(digits *d) {
    tuff_idx_free(&d->images);
    tuff_idx_free(&d->labels);
}

void digits_batch(const digits *d, const uint32_t *order, uint32_t count, uint64_t *random, float *pixels,
                  int32_t *labels) {
    float value[256];
    for (int grey = 0; grey < 256; grey++) value[grey] = ((float)grey / 255 - pixel_mean) / pixel_deviation;
    const int height = (int)d->height, width = (int)d->width;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *image = d->images.data + (size_t)order[i] * d->height * d->width;
        int down = 0, right = 0;
        if (random != NULL) {
            down = (int)random_below(random, 3) - 1;
            right = (int)random_below(random, 3) - 1;
        }
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                int from_y = y - down, from_x = x - right;
                bool inside = from_y >= 0 && from_y < height && from_x >= 0 && from_x < width;
                *pixels++ = value[inside ? image[from_y * width + from_x] : 0];
            }
        }
        labels[i] = d->labels.data[order[i]];
    }
}
