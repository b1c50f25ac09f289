/* The layers: parameters and defaults of torch.nn.Conv1d to Conv3d and ConvTranspose1d to ConvTranspose3d. */
#include "layers/convolution.h"
#include "layers/state.h"

#include <math.h>

/* The descriptors' common form. */
typedef struct layer_desc {
    const char *call; /* the public function's name */
    const char *name;
    uint32_t axes;
    bool transposed, no_bias, padding_same;
    int64_t channels, groups;
    int64_t kernel[3], stride[3], padding[3], output_padding[3], dilation[3];
    tuff_tensor *weight, *bias;
    tuff_init_desc weight_init, bias_init;
} layer_desc;

static void copy_numbers(int64_t *to, const int64_t *from, uint32_t axes, int64_t standard) {
    for (uint32_t i = 0; i < axes; i++) to[i] = from[i] ? from[i] : standard;
}

static tuff_tensor *apply(tuff_tensor *x, const layer_desc *desc, tuff_tensor *weight, tuff_tensor *bias) {
    attribute_value values[MAX_ATTRIBUTES] = { 0 };
    uint32_t axes = desc->axes;
    bool transposed = desc->transposed;
    attribute_value *const lists[] = { &values[CONV_STRIDE], &values[transposed ? TRANSPOSE_DILATION : CONV_DILATION],
                                       &values[transposed ? TRANSPOSE_PADDING : CONV_PADDING],
                                       transposed ? &values[TRANSPOSE_OUTPUT_PADDING] : NULL };
    const int64_t *const numbers[] = { desc->stride, desc->dilation, desc->padding, desc->output_padding };
    for (uint32_t i = 0; i < 4; i++) {
        if (!lists[i]) continue;
        lists[i]->i = axes;
        copy_numbers(lists[i]->list, numbers[i], axes, i < 2 ? 1 : 0);
    }
    if (desc->padding_same) values[CONV_PADDING] = (attribute_value){ .i = PADDING_SAME };
    values[transposed ? TRANSPOSE_GROUPS : CONV_GROUPS].i = desc->groups ? desc->groups : 1;
    const operator* op = transposed ? &convolution_transpose_rows[axes] : & convolution_rows[axes];
    return graph_apply(x->graph, op, (tuff_tensor *[]){ x, weight, bias }, 3, values, desc->name);
}

/* Of a batch of images, or of one. */
static int64_t channels_of(const tuff_tensor *x, const layer_desc *desc) {
    return x->shape.sizes[x->shape.rank - desc->axes - 1];
}

/* False, with the graph's error, if no parameters can be made of this. */
static bool check_desc(tuff_tensor *x, const layer_desc *desc) {
    tuff_graph *graph = x->graph;
    int64_t groups = desc->groups ? desc->groups : 1, taps = 1;
    bool possible = desc->channels >= 1 && desc->channels <= INT32_MAX && groups >= 1;
    for (uint32_t i = 0; i < desc->axes; i++) {
        possible = possible && desc->kernel[i] >= 1 && desc->kernel[i] <= INT16_MAX;
        if (possible) taps *= desc->kernel[i];
    }
    if (!possible || taps > INT32_MAX) {
        graph_fail(graph, TUFF_ERROR_ARGUMENT,
                   "%s '%s': channels (1 to %d) and kernel (1 to %d) are required, groups must be at least 1",
                   desc->call, desc->name, INT32_MAX, INT16_MAX);
        return false;
    }
    static const char *const batches[] = { "", "signals (N, C, L)", "images (N, C, H, W)", "volumes (N, C, D, H, W)" };
    char text[SHAPE_TEXT];
    if (x->shape.rank != 2 + desc->axes && x->shape.rank != 1 + desc->axes) {
        graph_fail(graph, TUFF_ERROR_SHAPE, "%s '%s': '%s' %s must be a batch of %s or one of them", desc->call,
                   desc->name, x->name, shape_text(&x->shape, text), batches[desc->axes]);
        return false;
    }
    if (channels_of(x, desc) % groups == 0 && desc->channels % groups == 0) return true;
    graph_fail(graph, TUFF_ERROR_SHAPE,
               "%s '%s': '%s' %s and %lld channels: both numbers of channels must be multiples of the "
               "groups, %lld",
               desc->call, desc->name, x->name, shape_text(&x->shape, text), (long long)desc->channels,
               (long long)groups);
    return false;
}

/* False, with the graph's error, if a descriptor says something else than the weight that it gives. */
static bool agrees(tuff_graph *graph, const layer_desc *desc) {
    const tuff_shape *weight = &desc->weight->shape;
    const char *name = desc->name ? desc->name : "";
    char text[SHAPE_TEXT];
    if (desc->bias && desc->no_bias)
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s '%s': a bias is given, and no_bias is set", desc->call, name);
    if (weight->rank != 2 + desc->axes) return true; /* the row will say so */
    int64_t groups = desc->groups ? desc->groups : 1;
    int64_t channels = desc->transposed ? weight->sizes[1] * groups : weight->sizes[0];
    bool same = !desc->channels || desc->channels == channels;
    for (uint32_t i = 0; i < desc->axes; i++)
        same = same && (!desc->kernel[i] || desc->kernel[i] == weight->sizes[2 + i]);
    if (!same)
        graph_fail(graph, TUFF_ERROR_ARGUMENT,
                   "%s '%s': the weight '%s' %s is given, but channels or kernel are others; leave them 0", desc->call,
                   name, desc->weight->name, shape_text(weight, text));
    return graph->result == TUFF_OK;
}

static tuff_tensor *layer(tuff_tensor *x, const layer_desc *desc) {
    tuff_graph *graph = x->graph;
    if (graph->result != TUFF_OK) return NULL;
    if (desc->padding_same)
        for (uint32_t i = 0; i < desc->axes; i++)
            if (desc->padding[i]) {
                graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s: padding is given in numbers, and padding_same is set",
                           desc->call);
                return NULL;
            }
    if (desc->weight) return agrees(graph, desc) ? apply(x, desc, desc->weight, desc->bias) : NULL;
    if (desc->bias) {
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s: a bias is given, but no weight", desc->call);
        return NULL;
    }
    if (!layer_is_named(graph, desc->call, desc->name) || !check_desc(x, desc)) return NULL;
    int64_t groups = desc->groups ? desc->groups : 1, in = channels_of(x, desc), taps = 1;
    tuff_shape shape = { .rank = 2 + desc->axes };
    shape.sizes[0] = desc->transposed ? in : desc->channels;
    shape.sizes[1] = (desc->transposed ? desc->channels : in) / groups;
    for (uint32_t i = 0; i < desc->axes; i++) taps *= shape.sizes[2 + i] = desc->kernel[i];
    /* torch.nn: kaiming_uniform_(a=sqrt(5)) is U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the bias the same; fan_in counts the
     * weight's second size, for the transposed layers too */
    float bound = (float)(1 / sqrt((double)(shape.sizes[1] * taps)));
    const state_desc weight_desc = { .name = "weight",
                                     .shape = shape,
                                     .layout = LAYOUT_KERNEL_LAST,
                                     .kind = TUFF_STATE_PARAMETER,
                                     .init = init_or(&desc->weight_init, TUFF_INIT_UNIFORM, bound),
                                     .fan_in = shape.sizes[1] * taps,
                                     .fan_out = shape.sizes[0] * taps };
    uint32_t states = tuff_model_state_count(graph->model);
    tuff_tensor *weight = layer_state(graph, desc->name, &weight_desc), *bias = NULL;
    if (weight && !desc->no_bias) {
        const state_desc bias_desc = { .name = "bias",
                                       .shape = TUFF_SHAPE(desc->channels),
                                       .kind = TUFF_STATE_PARAMETER,
                                       .init = init_or(&desc->bias_init, TUFF_INIT_UNIFORM, bound) };
        bias = layer_state(graph, desc->name, &bias_desc);
    }
    return layer_end(graph, states, weight ? apply(x, desc, weight, bias) : NULL);
}

/* What all descriptors have under the same names. */
#define COMMON(CALL, AXES, DESC)                                                                                       \
    .call = CALL, .axes = AXES, .name = (DESC)->name, .channels = (DESC)->channels, .groups = (DESC)->groups,          \
    .no_bias = (DESC)->no_bias, .weight = (DESC)->weight, .bias = (DESC)->bias, .weight_init = (DESC)->weight_init,    \
    .bias_init = (DESC)->bias_init

/* The numbers for each axis, of the descriptors that have one, two or three. */
#define AXES_1(NAME, DESC) .NAME = { (DESC)->NAME }
#define AXES_2(NAME, DESC) .NAME = { (DESC)->NAME[0], (DESC)->NAME[1] }
#define AXES_3(NAME, DESC) .NAME = { (DESC)->NAME[0], (DESC)->NAME[1], (DESC)->NAME[2] }
#define NUMBERS(OF_AXES, DESC)                                                                                         \
    OF_AXES(kernel, DESC), OF_AXES(stride, DESC), OF_AXES(padding, DESC), OF_AXES(dilation, DESC)

#define CONV_LAYER(NAME, AXES)                                                                                         \
    tuff_tensor *tuff_##NAME(tuff_tensor *x, const tuff_##NAME##_desc *desc) {                                         \
        static const tuff_##NAME##_desc none;                                                                          \
        if (!desc) desc = &none;                                                                                       \
        if (!x) return NULL;                                                                                           \
        return layer(x, &(layer_desc){ COMMON("tuff_" #NAME, AXES, desc), NUMBERS(AXES_##AXES, desc),                  \
                                       .padding_same = desc->padding_same });                                          \
    }
#define TRANSPOSE_LAYER(NAME, AXES)                                                                                    \
    tuff_tensor *tuff_##NAME(tuff_tensor *x, const tuff_##NAME##_desc *desc) {                                         \
        static const tuff_##NAME##_desc none;                                                                          \
        if (!desc) desc = &none;                                                                                       \
        if (!x) return NULL;                                                                                           \
        return layer(x, &(layer_desc){ COMMON("tuff_" #NAME, AXES, desc), NUMBERS(AXES_##AXES, desc),                  \
                                       AXES_##AXES(output_padding, desc), .transposed = true });                       \
    }

CONV_LAYER(conv1d, 1)
CONV_LAYER(conv2d, 2)
CONV_LAYER(conv3d, 3)
TRANSPOSE_LAYER(conv_transpose1d, 1)
TRANSPOSE_LAYER(conv_transpose2d, 2)
TRANSPOSE_LAYER(conv_transpose3d, 3)
