/* States that layers declare. */
#ifndef TUFF_LAYERS_STATE_H
#define TUFF_LAYERS_STATE_H

#include "runtime/model/model.h"

/* The graph's tensor of the state LAYER.NAME (desc->name is NAME), declared on first use. NULL after an error. */
tuff_tensor *layer_state(tuff_graph *graph, const char *layer, const state_desc *desc);

/* What a layer returns that began when its model had `states` states: y, or NULL after an error, with the states that
 * it had declared taken back. */
tuff_tensor *layer_end(tuff_graph *graph, uint32_t states, tuff_tensor *y);

/* init if the user chose one, else `standard`. */
tuff_init_desc init_or(const tuff_init_desc *init, tuff_init kind, float value);

/* False, with the graph's error, if a layer's descriptor or its name is missing. */
bool layer_is_named(tuff_graph *graph, const char *layer_kind, const char *name);

#endif
