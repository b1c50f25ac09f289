/* The layers that normalise within each example: they make parameters and apply the rows of row_norms.c. */
#include "layers/normalisation.h"
#include "layers/state.h"

/* What a layer does on the way to its row. */
typedef struct layer {
    tuff_graph *graph;
    const char *kind, *name;
    uint32_t states; /* the model had, before */
    double epsilon;
} layer;

/* False after an error. */
static bool layer_begin(layer *l, tuff_tensor *x, const char *kind, const char *name, bool named, float epsilon,
                        double standard) {
    if (!x || x->graph->result != TUFF_OK) return false;
    *l = (layer){ x->graph, kind, name, tuff_model_state_count(x->graph->model),
                  epsilon == 0 ? standard : (double)epsilon };
    if (named && !layer_is_named(l->graph, kind, name)) return false;
    if (epsilon >= 0) return true;
    graph_fail(l->graph, TUFF_ERROR_ARGUMENT, "%s '%s': epsilon is %g, it must not be negative", kind,
               name ? name : x->name, (double)epsilon);
    return false;
}

static bool has_channels(const layer *l, const tuff_tensor *x) {
    char text[SHAPE_TEXT];
    if (x->shape.rank >= 2) return true;
    graph_fail(l->graph, TUFF_ERROR_SHAPE, "%s '%s': '%s' %s has no axis 1", l->kind, l->name ? l->name : "", x->name,
               shape_text(&x->shape, text));
    return false;
}

static tuff_tensor *layer_vector(const layer *l, const char *name, tuff_shape shape, tuff_state_kind kind,
                                 float value) {
    if (l->graph->result != TUFF_OK) return NULL;
    const state_desc state = { .name = name, .shape = shape, .kind = kind, .init = { TUFF_INIT_CONSTANT, value } };
    return layer_state(l->graph, l->name, &state);
}

/* The last axes of x; rank 0 after an error. */
static tuff_shape last_shape(const layer *l, const tuff_tensor *x, uint32_t axes) {
    tuff_shape shape = { .rank = axes ? axes : 1 };
    char text[SHAPE_TEXT];
    if (shape.rank > x->shape.rank) {
        graph_fail(l->graph, TUFF_ERROR_SHAPE, "%s '%s': '%s' %s has less than %u axes", l->kind,
                   l->name ? l->name : "", x->name, shape_text(&x->shape, text), shape.rank);
        return (tuff_shape){ 0 };
    }
    for (uint32_t i = 0; i < shape.rank; i++) shape.sizes[i] = x->shape.sizes[x->shape.rank - shape.rank + i];
    return shape;
}

static void set_shape(attribute_value *attribute, const tuff_shape *shape) {
    attribute->i = shape->rank;
    for (uint32_t i = 0; i < shape->rank; i++) attribute->list[i] = shape->sizes[i];
}

tuff_tensor *tuff_layer_norm(tuff_tensor *x, const tuff_layer_norm_desc *desc) {
    static const tuff_layer_norm_desc none;
    layer l;
    if (!desc) desc = &none;
    bool own = !desc->weight && !desc->bias && !desc->no_affine;
    if (!layer_begin(&l, x, "tuff_layer_norm", desc->name, own, desc->epsilon, 1e-5)) return NULL;
    tuff_shape shape = last_shape(&l, x, desc->axes);
    tuff_tensor *inputs[3] = { x, desc->weight, desc->bias };
    if (own) inputs[1] = layer_vector(&l, "weight", shape, TUFF_STATE_PARAMETER, 1);
    if (own && !desc->no_bias) inputs[2] = layer_vector(&l, "bias", shape, TUFF_STATE_PARAMETER, 0);
    attribute_value attributes[] = { [LAYER_SHAPE] = { 0 }, [LAYER_EPSILON] = { .f = l.epsilon } };
    set_shape(&attributes[LAYER_SHAPE], &shape);
    return layer_end(l.graph, l.states, graph_apply(l.graph, &operator_layer_norm, inputs, 3, attributes, l.name));
}

tuff_tensor *tuff_rms_norm(tuff_tensor *x, const tuff_rms_norm_desc *desc) {
    static const tuff_rms_norm_desc none;
    layer l;
    if (!desc) desc = &none;
    bool own = !desc->weight && !desc->no_affine;
    if (!layer_begin(&l, x, "tuff_rms_norm", desc->name, own, desc->epsilon, 1.1920929e-7)) return NULL;
    tuff_shape shape = last_shape(&l, x, desc->axes);
    tuff_tensor *inputs[2] = { x, desc->weight };
    if (own) inputs[1] = layer_vector(&l, "weight", shape, TUFF_STATE_PARAMETER, 1);
    attribute_value attributes[] = { [LAYER_SHAPE] = { 0 }, [LAYER_EPSILON] = { .f = l.epsilon } };
    set_shape(&attributes[LAYER_SHAPE], &shape);
    return layer_end(l.graph, l.states, graph_apply(l.graph, &operator_rms_norm, inputs, 2, attributes, l.name));
}

tuff_tensor *tuff_group_norm(tuff_tensor *x, const tuff_group_norm_desc *desc) {
    static const tuff_group_norm_desc none;
    layer l;
    if (!desc) desc = &none;
    bool own = !desc->weight && !desc->bias && !desc->no_affine;
    if (!layer_begin(&l, x, "tuff_group_norm", desc->name, own, desc->epsilon, 1e-5)) return NULL;
    if (!has_channels(&l, x)) return NULL;
    tuff_tensor *inputs[3] = { x, desc->weight, desc->bias };
    if (own) inputs[1] = layer_vector(&l, "weight", TUFF_SHAPE(x->shape.sizes[1]), TUFF_STATE_PARAMETER, 1);
    if (own) inputs[2] = layer_vector(&l, "bias", TUFF_SHAPE(x->shape.sizes[1]), TUFF_STATE_PARAMETER, 0);
    const attribute_value attributes[] = {
        [GROUP_COUNT] = { .i = desc->groups }, [GROUP_EPSILON] = { .f = l.epsilon }
    };
    return layer_end(l.graph, l.states, graph_apply(l.graph, &operator_group_norm, inputs, 3, attributes, l.name));
}

tuff_tensor *tuff_instance_norm(tuff_tensor *x, const tuff_instance_norm_desc *desc) {
    static const tuff_instance_norm_desc none;
    layer l;
    if (!desc) desc = &none;
    bool own = !desc->weight && !desc->bias && desc->affine, track = desc->track_running_stats;
    if (!layer_begin(&l, x, "tuff_instance_norm", desc->name, own || track, desc->epsilon, 1e-5)) return NULL;
    if (!has_channels(&l, x)) return NULL;
    float momentum = desc->momentum == 0 ? 0.1f : desc->momentum < 0 ? 0 : desc->momentum;
    if (!(momentum <= 1)) {
        graph_fail(l.graph, TUFF_ERROR_ARGUMENT, "tuff_instance_norm '%s': momentum %g is out of range", l.name,
                   (double)momentum);
        return NULL;
    }
    tuff_shape shape = TUFF_SHAPE(x->shape.sizes[1]);
    tuff_tensor *inputs[5] = { x, NULL, NULL, desc->weight, desc->bias };
    if (track) inputs[1] = layer_vector(&l, "running_mean", shape, TUFF_STATE_BUFFER, 0);
    if (track) inputs[2] = layer_vector(&l, "running_var", shape, TUFF_STATE_BUFFER, 1);
    if (own) inputs[3] = layer_vector(&l, "weight", shape, TUFF_STATE_PARAMETER, 1);
    if (own) inputs[4] = layer_vector(&l, "bias", shape, TUFF_STATE_PARAMETER, 0);
    const attribute_value attributes[] = {
        [INSTANCE_STATISTICS] = { .i = track ? BY_PURPOSE : FROM_INPUT }, [INSTANCE_EPSILON] = { .f = l.epsilon }
    };
    tuff_tensor *y = graph_apply(l.graph, &operator_instance_norm, inputs, 5, attributes, l.name);
    if (y && track) {
        follow_statistic(l.graph, &batch_norm_running_mean, x, inputs[1], momentum);
        follow_statistic(l.graph, &operator_instance_norm_running_var, x, inputs[2], momentum);
    }
    return layer_end(l.graph, l.states, y);
}
