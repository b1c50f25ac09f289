/* Connectionist temporal classification: the loss of a sequence of labels whose times nobody knows. Both passes hold
 * the logarithms of the paths' probabilities, (N, T, 2 S + 1) each; shaders/loss/ctc*.comp have the formulas. */
#include "layers/families.h"
#include "layers/flat.h"
#include "layers/losses.h"

#include <float.h>

enum { OF_LOG_PROBS, OF_TARGETS, OF_INPUT_LENGTHS, OF_TARGET_LENGTHS, OF_LOSS, OF_ALPHA, OF_GRADIENT };
enum { BLANK = 0, REDUCTION, ZERO_INFINITY };
enum { HEAD = 4, LANES = 64 }; /* shared with shaders/loss/ctc_beta.comp */

static const attribute attributes[] = {
    [BLANK] = { .name = "blank", .type = ATTRIBUTE_INT },
    [REDUCTION] = REDUCTION_ATTRIBUTE,
    [ZERO_INFINITY] = { .name = "zero_infinity", .type = ATTRIBUTE_BOOL },
};

static tuff_result check_shapes(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[OF_LOG_PROBS], *targets = node->inputs[OF_TARGETS];
    int64_t blank = node->attributes[BLANK].i;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    if (x->shape.rank != 3 || targets->shape.rank != 2 || targets->shape.sizes[0] != x->shape.sizes[1])
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s must have the shape (T, N, C) and the targets '%s' %s the shape (N, S)",
                          node_text(node, text), x->name, shape_text(&x->shape, first), targets->name,
                          shape_text(&targets->shape, second));
    for (uint32_t i = OF_INPUT_LENGTHS; i <= OF_TARGET_LENGTHS; i++) {
        const tuff_tensor *lengths = node->inputs[i];
        if (lengths->shape.rank != 1 || lengths->shape.sizes[0] != x->shape.sizes[1])
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                              "%s: the lengths '%s' %s must have the shape (N), N of '%s' %s", node_text(node, text),
                              lengths->name, shape_text(&lengths->shape, first), x->name,
                              shape_text(&x->shape, second));
    }
    if (blank < 0 || blank >= x->shape.sizes[2])
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: blank is %lld, '%s' %s has the classes 0 to %lld",
                          node_text(node, text), (long long)blank, x->name, shape_text(&x->shape, first),
                          (long long)x->shape.sizes[2] - 1);
    if (x->shape.sizes[0] > INT32_MAX || targets->shape.sizes[1] > INT32_MAX / 4)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s and '%s' %s are too long",
                          node_text(node, text), x->name, shape_text(&x->shape, first), targets->name,
                          shape_text(&targets->shape, second));
    return TUFF_OK;
}

/* ---- kernels ------------------------------------------------------------------------------------ */

/* What the three kernels are told first: samples, then sizes. */
static kernel_call call_of(const node *node, uint32_t kernel, int64_t begin, int64_t count) {
    const tuff_shape *x = &node->inputs[OF_LOG_PROBS]->shape;
    return (kernel_call){ .kernel = kernel,
                          .params = { (uint32_t)begin, (uint32_t)count, (uint32_t)x->sizes[0], (uint32_t)x->sizes[1],
                                      (uint32_t)x->sizes[2], (uint32_t)node->inputs[OF_TARGETS]->shape.sizes[1],
                                      (uint32_t)node->attributes[BLANK].i },
                          .param_count = 7 };
}

static void add_operand(lowering *lowering, kernel_call *call, const view *view, uint32_t access) {
    call->operands[call->operand_count++] = lowering_operand(lowering, view, access, &call->params[call->param_count]);
    call->param_count++;
}

/* Of the states that a lane has, one time after the other. */
static uint64_t turns_of(const node *node) {
    uint64_t times = (uint64_t)node->inputs[OF_LOG_PROBS]->shape.sizes[0];
    uint64_t states = 2 * (uint64_t)node->inputs[OF_TARGETS]->shape.sizes[1] + 1;
    return (times + 1) * (1 + (states + LANES - 1) / LANES);
}

/* Paths of as many samples as fit a binding at a time. */
static view paths_view(const node *node, view paths) {
    int64_t times = node->inputs[OF_LOG_PROBS]->shape.sizes[0], labels = node->inputs[OF_TARGETS]->shape.sizes[1];
    paths.shape = TUFF_SHAPE(node->inputs[OF_LOG_PROBS]->shape.sizes[1], times * (2 * labels + 1));
    paths.strides[0] = paths.shape.sizes[1];
    paths.strides[1] = 1;
    return paths;
}

static tuff_result lower_alignment(lowering *lowering, const node *node) {
    view paths = paths_view(node, *lowering_view(lowering, node->outputs[1]));
    int64_t samples = paths.shape.sizes[0], step = steps_that_fit(lowering, &paths);
    TRY(turns_check(lowering, node, turns_of(node)));
    for (int64_t n = 0; n < samples; n += step) {
        int64_t part = smaller(step, samples - n);
        view alpha = view_part(&paths, n, part);
        kernel_call call = call_of(node, KERNEL_CTC_ALPHA, n, part);
        for (uint32_t i = 0; i <= OF_TARGET_LENGTHS; i++)
            add_operand(lowering, &call, lowering_view(lowering, node->inputs[i]), ACCESS_READ);
        uint32_t access = n ? ACCESS_READ | ACCESS_WRITE : ACCESS_WRITE; /* the calls before have written theirs */
        add_operand(lowering, &call, lowering_view(lowering, node->outputs[0]), access);
        add_operand(lowering, &call, &alpha, ACCESS_READ | ACCESS_WRITE);
        add_operand(lowering, &call, lowering_view(lowering, node->outputs[2]), access);
        flat_groups(&call, (uint64_t)part, 1);
        TRY(lowering_call(lowering, &call));
    }
    return TUFF_OK;
}

static tuff_result lower_backward(lowering *lowering, const node *node) {
    view alphas = paths_view(node, *lowering_view(lowering, node->inputs[OF_ALPHA])), betas, links;
    int64_t samples = alphas.shape.sizes[0], step = smaller(samples, steps_that_fit(lowering, &alphas));
    int64_t words = node->inputs[OF_TARGETS]->shape.sizes[1] + HEAD;
    TRY(lowering_scratch(lowering, (uint64_t)(step * alphas.shape.sizes[1]), "paths", &betas));
    TRY(lowering_scratch(lowering, (uint64_t)(step * words), "links", &links));
    for (int64_t n = 0; n < samples; n += step) {
        int64_t part = smaller(step, samples - n);
        view alpha = view_part(&alphas, n, part);
        kernel_call call = call_of(node, KERNEL_CTC_BETA, n, part);
        for (uint32_t i = 0; i <= OF_LOSS; i++)
            add_operand(lowering, &call, lowering_view(lowering, node->inputs[i]), ACCESS_READ);
        add_operand(lowering, &call, lowering_view(lowering, node->inputs[OF_GRADIENT]), ACCESS_READ);
        add_operand(lowering, &call, &betas, ACCESS_READ | ACCESS_WRITE);
        add_operand(lowering, &call, &links, ACCESS_WRITE);
        flat_groups(&call, (uint64_t)part, 1);
        TRY(lowering_call(lowering, &call));
        call = call_of(node, KERNEL_CTC_BACKWARD, n, part);
        for (uint32_t i = 0; i <= OF_TARGETS; i++)
            add_operand(lowering, &call, lowering_view(lowering, node->inputs[i]), ACCESS_READ);
        add_operand(lowering, &call, &links, ACCESS_READ);
        add_operand(lowering, &call, &alpha, ACCESS_READ);
        add_operand(lowering, &call, &betas, ACCESS_READ);
        add_operand(lowering, &call, lowering_view(lowering, node->outputs[0]), ACCESS_READ | ACCESS_WRITE);
        flat_groups(&call, (uint64_t)(part * node->inputs[OF_LOG_PROBS]->shape.sizes[0]), 1);
        TRY(lowering_call(lowering, &call));
    }
    return TUFF_OK;
}

/* ---- rows --------------------------------------------------------------------------------------- */

static tuff_result infer_alignment(inference *inference) {
    TRY(check_shapes(inference));
    const node *node = inference->node;
    int64_t labels = node->inputs[OF_TARGETS]->shape.sizes[1];
    const tuff_shape *x = &node->inputs[OF_LOG_PROBS]->shape;
    inference->output_count = 3;
    inference->shapes[0] = inference->shapes[2] = TUFF_SHAPE(x->sizes[1]);
    inference->shapes[1] = TUFF_SHAPE(x->sizes[1], x->sizes[0], 2 * labels + 1);
    return TUFF_OK;
}

static tuff_result infer_backward(inference *inference) {
    inference->shapes[0] = inference->node->inputs[OF_LOG_PROBS]->shape;
    return TUFF_OK;
}

static const operator ctc_backward = {
    .name = "ctc_backward",
    .formula = "(exp(log_probs) - the share of the paths through each class) gradient",
    .inputs = { "log_probs", "targets", "input_lengths", "target_lengths", "neg_log_likelihood", "log_alpha",
                "grad_output" },
    .types = { TYPE_F32, TYPE_I32, TYPE_I32, TYPE_I32 },
    .flags = OPERATOR_INTERNAL,
    .attributes = attributes,
    .attribute_count = 1,
    .infer = infer_backward,
    .input_layouts = { LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR,
                       LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_backward,
};

static tuff_result gradient_alignment(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                      tuff_tensor **grad_inputs) {
    tuff_tensor *inputs[] = { node->inputs[0],  node->inputs[1],  node->inputs[2], node->inputs[3],
                              node->outputs[0], node->outputs[1], grad_outputs[0] };
    if (!(needs & 1) || !grad_outputs[0]) return TUFF_OK;
    grad_inputs[0] = graph_apply(node_graph(node), &ctc_backward, inputs, 7, node->attributes, NULL);
    return TUFF_OK;
}

static const operator ctc_alignment = {
    .name = "ctc_alignment",
    .formula = "-log of the sum over all paths that are a sample's target of their probabilities",
    .inputs = { "log_probs", "targets", "input_lengths", "target_lengths" },
    .types = { TYPE_F32, TYPE_I32, TYPE_I32, TYPE_I32 },
    .outputs = { "neg_log_likelihood", "log_alpha", "labels" },
    .flags = OPERATOR_INTERNAL,
    .attributes = attributes,
    .attribute_count = 1,
    .infer = infer_alignment,
    .gradient = gradient_alignment,
    .input_layouts = { LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_alignment,
};

static tuff_result infer_ctc_loss(inference *inference) {
    TRY(check_shapes(inference));
    infer_loss(inference, inference->node->attributes[REDUCTION].i, &inference->node->inputs[OF_INPUT_LENGTHS]->shape);
    return TUFF_OK;
}

static tuff_result expand_ctc_loss(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                   tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *loss = graph_apply(graph, &ctc_alignment, inputs, 4, node->attributes, NULL);
    tuff_tensor *labels = loss ? loss->producer->outputs[2] : NULL;
    if (node->attributes[ZERO_INFINITY].i) loss = keep_unless(greater_than(loss, FLT_MAX), loss);
    if (node->attributes[REDUCTION].i == TUFF_REDUCE_MEAN) loss = tuff_div(loss, labels);
    outputs[0] = reduce_loss(loss, node->attributes[REDUCTION].i);
    return graph->result;
}

static const operator ctc_loss = {
    .name = "ctc_loss",
    .formula =
        "-log of the sum over all paths that are a sample's target of their probabilities, reduced; the mean divides "
        "by the target's length first",
    .inputs = { "log_probs", "targets", "input_lengths", "target_lengths" },
    .types = { TYPE_F32, TYPE_I32, TYPE_I32, TYPE_I32 },
    .pytorch = "torch.nn.functional.ctc_loss",
    .limits = "log_probs (T, N, C) and padded targets (N, S) alone; a label or a length out of range gives NaN",
    .attributes = attributes,
    .attribute_count = 3,
    .infer = infer_ctc_loss,
    .expand = expand_ctc_loss,
};

tuff_tensor *tuff_ctc_loss(tuff_tensor *log_probs, tuff_tensor *targets, tuff_tensor *input_lengths,
                           tuff_tensor *target_lengths, const tuff_ctc_loss_desc *desc) {
    static const tuff_ctc_loss_desc none;
    if (!desc) desc = &none;
    const attribute_value values[] = { [BLANK] = { .i = desc->blank },
                                       [REDUCTION] = { .i = desc->reduction },
                                       [ZERO_INFINITY] = { .i = desc->zero_infinity } };
    return apply_loss(&ctc_loss, (tuff_tensor *[]){ log_probs, targets, input_lengths, target_lengths }, 4, 4, values,
                      desc->reduction, 3);
}

static const operator* const rows[] = { &ctc_loss, &ctc_alignment, &ctc_backward };
const operator_family family_ctc = { rows, sizeof rows / sizeof *rows };
