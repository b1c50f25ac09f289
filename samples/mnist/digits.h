/* MNIST's digits: read from IDX files, shuffled, shifted a little, made into batches. */
#ifndef SAMPLES_MNIST_DIGITS_H
#define SAMPLES_MNIST_DIGITS_H

#include <tuff/io.h>

typedef struct digits {
    tuff_idx images, labels;
    uint32_t count;
    uint32_t height, width;
} digits;

/* Reads PREFIX-images-idx3-ubyte and PREFIX-labels-idx1-ubyte of a directory, plain or with .gz; prefix is "train" or
 * "t10k". On failure says what is wrong in message and returns false. */
bool digits_read(const char *directory, const char *prefix, digits *digits, char *message, size_t message_size);
void digits_free(digits *digits);

/* Pixels and labels of `count` digits, order[0 .. count). Pixels get mean 0 and deviation 1 (over MNIST). With random,
 * each image is shifted by up to one pixel each way, so that the network does not learn positions by heart. */
void digits_batch(const digits *digits, const uint32_t *order, uint32_t count, uint64_t *random, float *pixels,
                  int32_t *labels);

#endif
