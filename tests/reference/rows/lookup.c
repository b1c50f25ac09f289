/* Lookup: rows of tables, elements by their indices. */
#include "tests/reference/rows.h"

FORWARD(embedding_forward) {
    (void)a;
    return ref_embedding(in[0], in[1]);
}
GRADIENT(embedding_gradient) {
    UNUSED;
    if (g[1]) ref_embedding_grad(in[0], gy, g[1]);
}

FORWARD(one_hot_forward) {
    tuff_shape shape = in[0]->shape;
    int64_t classes = arg_int(a, "num_classes", 1);
    shape.sizes[shape.rank++] = classes;
    ref *y = ref_new(shape);
    for (int64_t i = 0; i < y->count; i++) y->v[i] = y->abs[i] = (double)(i % classes) == in[0]->v[i / classes];
    return y;
}

static const recipe_operator rows[] = {
    ROW(embedding, "lookup"),
    DETACHED(one_hot, "lookup"),
};
const recipe_family ROWS_LOOKUP = { rows, sizeof rows / sizeof *rows };
