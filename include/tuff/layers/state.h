/* State: parameters, buffers, constants, initialisers. <tuff/layers.h> says what holds for all functions here. */
#ifndef TUFF_PUBLIC_STATE_H
#define TUFF_PUBLIC_STATE_H

#include <tuff/tuff.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tuff_init {
    TUFF_INIT_DEFAULT = 0, /* what the layer's PyTorch class uses; for tuff_parameter: zeros */
    TUFF_INIT_ZEROS,
    TUFF_INIT_CONSTANT,        /* value */
    TUFF_INIT_UNIFORM,         /* in [-value, value) */
    TUFF_INIT_NORMAL,          /* mean 0, deviation value */
    TUFF_INIT_KAIMING_UNIFORM, /* torch.nn.init.kaiming_uniform_(a=value), fan_in, leaky_relu */
    TUFF_INIT_KAIMING_NORMAL,  /* torch.nn.init.kaiming_normal_(a=value), fan_in, leaky_relu */
    TUFF_INIT_XAVIER_UNIFORM,  /* torch.nn.init.xavier_uniform_(gain=value; 0: 1) */
    TUFF_INIT_XAVIER_NORMAL,   /* torch.nn.init.xavier_normal_(gain=value; 0: 1) */
} tuff_init;

/* The same seed gives the same bits on every driver: Philox4x32-10 by (seed, hash of the name, element). */
typedef struct tuff_init_desc {
    tuff_init kind;
    float value;
} tuff_init_desc;

/* A parameter of the graph's model, declared on its first use. torch.nn.Parameter. init may be NULL. */
TUFF_API tuff_tensor *tuff_parameter(tuff_graph *graph, const char *name, tuff_shape shape, const tuff_init_desc *init);

/* State that is not trained. torch.nn.Module.register_buffer. */
TUFF_API tuff_tensor *tuff_buffer(tuff_graph *graph, const char *name, tuff_shape shape, const tuff_init_desc *init);

/* After each run of a program that trains, buffer (made by tuff_buffer) holds value; readers in the same
 * run see what was there before. Does nothing in a program that evaluates. */
TUFF_API void tuff_assign(tuff_tensor *buffer, tuff_tensor *value);

/* A float32 constant with the given shape, every element value. torch.full. */
TUFF_API tuff_tensor *tuff_constant(tuff_graph *graph, float value, tuff_shape shape);

#ifdef __cplusplus
}
#endif
#endif
