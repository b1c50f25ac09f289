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

static const recipe_operator rows[] = {
    ROW(embedding, "lookup"),
};
const recipe_family ROWS_LOOKUP = { rows, sizeof rows / sizeof *rows };
