/* The networks that tuff bench trains. tools/peers/networks.py builds the same with PyTorch. */
#ifndef TUFF_TOOLS_NETWORKS_H
#define TUFF_TOOLS_NETWORKS_H

#include "bench.h"

enum { MAX_NETWORK_INPUTS = 2 };

typedef struct network_input {
    tuff_tensor *tensor;
    void *data;
    size_t size;
} network_input;

typedef struct network {
    const bench *bench;
    char shape[96]; /* its name and its sizes */
    tuff_model *model;
    tuff_graph *graph;
    tuff_optimizer *optimizer;
    network_input inputs[MAX_NETWORK_INPUTS];
    int input_count;
    tuff_tensor *loss;
    tuff_program *program;
    double products;  /* floating-point operations of the forward pass's products */
    double items;     /* what one step goes through, */
    const char *unit; /* a second: "images/s" */
} network;

typedef struct network_kind {
    const char *name;
    int64_t batch;
    tuff_tensor *(*build)(network *network, int64_t batch, bool small); /* gives the loss */
    const char *beside; /* the network that train runs in turn with it, to compare the two; NULL: none */
} network_kind;

enum { NETWORKS = 5 };
extern const network_kind network_kinds[NETWORKS];

const network_kind *network_find(const char *name); /* NULL: there is none */

/* Builds a network and its data. network_close also after a failure. */
bool network_open(const bench *bench, const network_kind *kind, network *network);
bool network_compile(network *network, tuff_profile profile);
/* Writes the inputs and runs; does not wait. */
bool network_step(const network *network);
void network_close(network *network);
/* Bytes that a step's dispatches read and write, those of each range that they are bound to counted once. */
double network_bytes(const network *network);

/* Does something for each network that the options ask for, until it fails. */
bool networks_each(const bench *bench, bool (*run)(const struct bench *bench, const network_kind *kind));

#endif
