/* Running sums along an axis. The gradient is the running sum from the other end. */
#include "layers/along.h"
#include "layers/pointwise.h"
#include "layers/search.h"

enum { DIM = 0, LANES = 64 };
static const attribute scan_attributes[] = { [DIM] = { .name = "dim", .type = ATTRIBUTE_INT, .required = true } };

static tuff_result infer_scan(inference *inference) {
    const tuff_tensor *x = inference->node->inputs[0];
    TRY(along_check(inference, x, inference->node->attributes[DIM].i));
    inference->shapes[0] = x->shape;
    return TUFF_OK;
}

/* How a workgroup's lanes and blocks cover the rows; shaders/reduction/scan.comp says more. */
typedef struct cover {
    int64_t across, tiles, blocks, chunk;
} cover;

static cover choose_cover(const lowering *lowering, along a) {
    cover c = { .across = 1 };
    while (c.across < a.inner && c.across < LANES) c.across *= 2;
    c.tiles = (a.inner + c.across - 1) / c.across;
    const int64_t least = 16, most = 1024; /* elements of a chunk; blocks, since each adds up those before it */
    int64_t lanes = LANES / c.across, wanted = device_get_limits(lowering_device(lowering))->cpu ? 512 : 65536;
    int64_t needed = (wanted + a.outer * c.tiles * LANES - 1) / (a.outer * c.tiles * LANES);
    int64_t possible = (a.n + lanes * least - 1) / (lanes * least);
    c.blocks = smaller(smaller(needed, possible), most);
    c.chunk = (a.n + lanes * c.blocks - 1) / (lanes * c.blocks);
    c.blocks = (a.n + lanes * c.chunk - 1) / (lanes * c.chunk);
    return c;
}

static tuff_result scan_rows(lowering *lowering, const view *x, along a, bool reversed, const view *y) {
    const cover c = choose_cover(lowering, a);
    view sums = *y;
    if (c.blocks > 1) TRY(lowering_scratch(lowering, (uint64_t)(2 * a.outer * a.inner * c.blocks), "sums", &sums));
    for (uint32_t partial = c.blocks > 1 ? 2 : 1; partial-- > 0;) {
        kernel_call call = { .kernel = KERNEL_SCAN,
                             .constants = { partial, reversed },
                             .constant_count = 2,
                             .operand_count = 3,
                             .params = { (uint32_t)a.outer, (uint32_t)a.n, (uint32_t)a.inner, (uint32_t)c.across,
                                         (uint32_t)c.tiles, (uint32_t)c.blocks, (uint32_t)c.chunk },
                             .param_count = 10 };
        const view *out = partial ? &sums : y;
        call.operands[0] = lowering_operand(lowering, x, ACCESS_READ, &call.params[7]);
        call.operands[1] = lowering_operand(lowering, &sums, partial ? ACCESS_WRITE : ACCESS_READ, &call.params[8]);
        call.operands[2] = lowering_operand(lowering, out, ACCESS_WRITE, &call.params[9]);
        if (c.blocks == 1) call.operands[1] = call.operands[2]; /* not read */
        if (partial) call.operands[2] = call.operands[1];       /* not written */
        call.params[8] /= 2;
        flat_groups(&call, (uint64_t)(a.outer * c.tiles * c.blocks), 1);
        TRY(lowering_call(lowering, &call));
    }
    return TUFF_OK;
}

static tuff_result lower_scan(lowering *lowering, const node *node, bool reversed) {
    const along a = along_axis(&node->inputs[0]->shape, node->attributes[DIM].i);
    view x = along_view(lowering_view(lowering, node->inputs[0]), a.outer, a.n * a.inner);
    view y = along_view(lowering_view(lowering, node->outputs[0]), a.outer, a.n * a.inner);
    int64_t step = along_step(lowering, (const view *[]){ &x }, 1);
    for (int64_t o = 0; o < a.outer; o += step) {
        int64_t part = smaller(step, a.outer - o);
        view x_part = view_part(&x, o, part), y_part = view_part(&y, o, part);
        TRY(scan_rows(lowering, &x_part, (along){ part, a.n, a.inner }, reversed, &y_part));
    }
    return TUFF_OK;
}

static tuff_result lower_forward(lowering *lowering, const node *node) {
    return lower_scan(lowering, node, false);
}
static tuff_result lower_reversed(lowering *lowering, const node *node) {
    return lower_scan(lowering, node, true);
}

static tuff_result gradient_forward(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                    tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_unary(&operator_cumsum_reversed, grad_outputs[0], node->attributes);
    return TUFF_OK;
}
static tuff_result gradient_reversed(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                     tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_unary(&operator_cumsum, grad_outputs[0], node->attributes);
    return TUFF_OK;
}

const operator operator_cumsum = {
    .name = "cumsum",
    .formula = "y[j] = sum of x[i] over i <= j along an axis",
    .inputs = { "input" },
    .pytorch = "torch.cumsum",
    .attributes = scan_attributes,
    .attribute_count = 1,
    .infer = infer_scan,
    .gradient = gradient_forward,
    .input_layouts = { LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_forward,
};

const operator operator_cumsum_reversed = {
    .name = "cumsum_reversed",
    .flags = OPERATOR_INTERNAL,
    .formula = "y[j] = sum of x[i] over i >= j along an axis",
    .inputs = { "input" },
    .attributes = scan_attributes,
    .attribute_count = 1,
    .infer = infer_scan,
    .gradient = gradient_reversed,
    .input_layouts = { LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_reversed,
};

tuff_tensor *tuff_cumsum(tuff_tensor *x, int32_t axis) {
    return apply_unary(&operator_cumsum, x, &(attribute_value){ .i = axis });
}
