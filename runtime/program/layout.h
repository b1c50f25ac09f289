/* Layout: where each tensor lies, and copies where a kernel wants it otherwise. */
#ifndef TUFF_RUNTIME_LAYOUT_H
#define TUFF_RUNTIME_LAYOUT_H

#include "runtime/graph/operator.h"

#include <stdio.h>

typedef enum place_kind {
    PLACE_OWN = 0,  /* transient memory of its own */
    PLACE_INPUT,    /* an input's slot */
    PLACE_OUTPUT,   /* an output's slot */
    PLACE_STATE,    /* a model's state */
    PLACE_GRADIENT, /* the flat block of gradients, where `state` lies in its block of parameters */
} place_kind;

typedef struct place {
    place_kind kind;
    uint32_t root;      /* tensor whose memory this one looks at; its own id where it has memory */
    state_entry *state; /* STATE, GRADIENT */
    uint32_t output;    /* OUTPUT: index among the program's outputs */
    view view;          /* strides, offset from the root's start; storage is lowering's */
} place;

typedef struct laid_out {
    tuff_graph *graph; /* the fused graph with copies added; assignments are nodes now */
    place *places;     /* by tensor id */
    uint32_t place_count, place_capacity;
    tuff_tensor **gradients; /* as given, in graph; each lies in PLACE_GRADIENT */
    tuff_tensor **outputs;   /* as given, in graph; each lies in PLACE_OUTPUT */
    uint32_t copies;
} laid_out;

/* gradients[i] belongs to parameter states[i]. */
tuff_result graph_layout(const tuff_graph *from, tuff_tensor *const *outputs, uint32_t output_count,
                         tuff_tensor *const *gradients, state_entry *const *states, uint32_t gradient_count,
                         laid_out *out);
void laid_out_free(laid_out *laid_out);
void layout_dump(const laid_out *laid_out, FILE *file);

#endif
