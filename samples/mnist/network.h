/* The networks that learn the digits, and the programs made of them. */
#ifndef SAMPLES_MNIST_NETWORK_H
#define SAMPLES_MNIST_NETWORK_H

#include <tuff/layers.h>

enum { IMAGE_SIDE = 28, IMAGE_PIXELS = IMAGE_SIDE * IMAGE_SIDE, CLASSES = 10 };

/* A network and how it is best trained: found with five seeds each on the digits in data/. */
typedef struct recipe {
    const char *name;
    tuff_tensor *(*build)(tuff_tensor *image); /* (N, 1, 28, 28) to logits (N, 10) */
    int64_t epochs, batch;
    double lr; /* the highest of the one-cycle schedule */
    float weight_decay;
} recipe;

/* "cnn" or "mlp". */
const recipe *recipe_find(const char *name);

/* The graph of a network with its loss; programs for other numbers of images are compiled from the same one. */
typedef struct network {
    tuff_graph *graph;
    tuff_tensor *image, *label, *loss, *accuracy;
} network;

tuff_result network_build(tuff_model *model, const recipe *recipe, int64_t batch, network *network);

/* A program for `batch` images; optimizer NULL: it evaluates. */
tuff_result network_compile(const network *network, const char *name, int64_t batch, tuff_optimizer *optimizer,
                            tuff_program **program);

#endif
