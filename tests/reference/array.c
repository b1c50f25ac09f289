/* Arrays of the reference, and how shapes broadcast. */
#include "reference.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(size_t bytes) {
    void *memory = calloc(1, bytes ? bytes : 1);
    if (!memory) {
        fprintf(stderr, "reference: out of memory for %zu bytes\n", bytes);
        exit(3);
    }
    return memory;
}

ref *ref_new(tuff_shape shape) {
    ref *x = allocate(sizeof *x);
    x->shape = shape;
    x->count = ref_count(&shape);
    x->v = allocate((size_t)x->count * sizeof(double));
    x->abs = allocate((size_t)x->count * sizeof(double));
    x->terms = 1;
    return x;
}

void ref_free(ref *x) {
    if (!x) return;
    free(x->v);
    free(x->abs);
    free(x);
}

ref *ref_copy(const ref *x) {
    ref *y = ref_new(x->shape);
    memcpy(y->v, x->v, (size_t)x->count * sizeof(double));
    memcpy(y->abs, x->abs, (size_t)x->count * sizeof(double));
    y->terms = x->terms;
    return y;
}

double ref_tolerance(const ref *x, int64_t i) {
    /* The last summand: results that underflow may be flushed to zero. */
    return (8 + 2 * sqrt(x->terms)) * FLT_EPSILON * x->abs[i] + 4 * FLT_MIN;
}

int64_t ref_count(const tuff_shape *shape) {
    int64_t count = 1;
    for (uint32_t i = 0; i < shape->rank; i++) count *= shape->sizes[i];
    return count;
}

tuff_shape ref_broadcast_shape(const tuff_shape *a, const tuff_shape *b) {
    tuff_shape out = a->rank >= b->rank ? *a : *b;
    for (uint32_t i = 1; i <= out.rank; i++) {
        int64_t sa = i <= a->rank ? a->sizes[a->rank - i] : 1;
        int64_t sb = i <= b->rank ? b->sizes[b->rank - i] : 1;
        out.sizes[out.rank - i] = sa > sb ? sa : sb;
    }
    return out;
}

int64_t ref_offset(const tuff_shape *in, const tuff_shape *out, int64_t flat) {
    int64_t offset = 0, stride = 1;
    for (uint32_t i = 1; i <= in->rank; i++) {
        int64_t size = out->sizes[out->rank - i], at = flat % size;
        flat /= size;
        if (in->sizes[in->rank - i] != 1) offset += at * stride;
        stride *= in->sizes[in->rank - i];
    }
    return offset;
}
