#include "test_layers.h"

static void of_classes(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(4, 5)), *weight = layers_input(c, TUFF_SHAPE(5));
    tuff_tensor *target = layers_index(c, TUFF_SHAPE(4));
    layers_expect(tuff_cross_entropy(x, target, NULL), "cross_entropy", "");
    layers_expect(tuff_cross_entropy(x, target,
                                     &(tuff_cross_entropy_desc){ .reduction = TUFF_REDUCE_SUM,
                                                                 .weight = weight,
                                                                 .ignore_index = 255,
                                                                 .label_smoothing = 0.125f }),
                  "cross_entropy", "reduction=sum ignore_index=255 label_smoothing=0.125");
    layers_expect(
        tuff_cross_entropy(x, layers_input(c, TUFF_SHAPE(4, 5)), &(tuff_cross_entropy_desc){ .ignore_zero = true }),
        "cross_entropy", "ignore_index=0");
    layers_expect(
        tuff_nll_loss(x, target,
                      &(tuff_nll_loss_desc){ .reduction = TUFF_REDUCE_NONE, .weight = weight, .ignore_index = 3 }),
        "nll_loss", "reduction=none ignore_index=3");
    layers_expect(tuff_nll_loss(x, target, NULL), "nll_loss", "");
    tuff_cross_entropy(x, target, &(tuff_cross_entropy_desc){ .weight = x });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "cross_entropy weight [4, 5] (5)");
    tuff_cross_entropy(layers_input(c, TUFF_SHAPE(4, 5)), layers_index(c, TUFF_SHAPE(4)),
                       &(tuff_cross_entropy_desc){ .label_smoothing = 2 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "cross_entropy label_smoothing 2 [0, 1]");
    tuff_cross_entropy(layers_input(c, TUFF_SHAPE(4, 5)), layers_index(c, TUFF_SHAPE(4)),
                       &(tuff_cross_entropy_desc){ .reduction = TUFF_REDUCE_BATCH_MEAN });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "cross_entropy reduction");
    tuff_cross_entropy(layers_input(c, TUFF_SHAPE(4, 5)), layers_index(c, TUFF_SHAPE(4)),
                       &(tuff_cross_entropy_desc){ .ignore_zero = true, .ignore_index = 3 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "cross_entropy ignore_zero 3");
    tuff_nll_loss(layers_input(c, TUFF_SHAPE(4, 5)), layers_index(c, TUFF_SHAPE(4)),
                  &(tuff_nll_loss_desc){ .ignore_zero = true, .ignore_index = -100 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "nll_loss ignore_zero -100");
}

static void of_a_linear_layer(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 3, 4)), *weight = layers_input(c, TUFF_SHAPE(5, 4));
    tuff_tensor *bias = layers_input(c, TUFF_SHAPE(5)), *target = layers_index(c, TUFF_SHAPE(2, 3));
    layers_expect(tuff_linear_cross_entropy(x, weight, target, NULL), "linear_cross_entropy", "");
    layers_expect(tuff_linear_cross_entropy(
                      x, weight, target,
                      &(tuff_linear_cross_entropy_desc){
                          .bias = bias, .reduction = TUFF_REDUCE_NONE, .ignore_zero = true, .label_smoothing = 0.25f }),
                  "linear_cross_entropy", "reduction=none ignore_index=0 label_smoothing=0.25");
    tuff_linear_cross_entropy(x, bias, target, NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "linear_cross_entropy [2, 3, 4] [5] (classes, D)");
    tuff_linear_cross_entropy(layers_input(c, TUFF_SHAPE(3, 4)), layers_input(c, TUFF_SHAPE(5, 4)),
                              layers_index(c, TUFF_SHAPE(4)), NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "linear_cross_entropy target [4] [3, 4]");
    x = layers_input(c, TUFF_SHAPE(3, 4)), weight = layers_input(c, TUFF_SHAPE(5, 4));
    tuff_linear_cross_entropy(x, weight, layers_index(c, TUFF_SHAPE(3)),
                              &(tuff_linear_cross_entropy_desc){ .ignore_zero = true, .ignore_index = 3 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "linear_cross_entropy ignore_zero 3");
}

static void of_numbers(layers_case *c) {
    const tuff_loss_desc sum = { .reduction = TUFF_REDUCE_SUM };
    tuff_tensor *a = layers_input(c, TUFF_SHAPE(4, 5)), *b = layers_input(c, TUFF_SHAPE(4, 5));
    layers_expect(tuff_mse_loss(a, b, &sum), "mse_loss", "reduction=sum");
    layers_expect(tuff_l1_loss(a, b, &sum), "l1_loss", "reduction=sum");
    layers_expect(tuff_smooth_l1_loss(a, b, 0, &sum), "smooth_l1_loss", "beta=0 reduction=sum");
    layers_expect(tuff_huber_loss(a, b, 0.5f, NULL), "huber_loss", "delta=0.5");
    layers_expect(tuff_binary_cross_entropy_with_logits(
                      a, b, &(tuff_binary_cross_entropy_desc){ .reduction = TUFF_REDUCE_SUM, .pos_weight = b }),
                  "binary_cross_entropy_with_logits", "reduction=sum");
    layers_expect(tuff_kl_div(a, b, &(tuff_kl_div_desc){ .reduction = TUFF_REDUCE_BATCH_MEAN, .log_target = true }),
                  "kl_div", "reduction=batchmean log_target=true");
    tuff_huber_loss(a, b, 0, NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "huber_loss delta 0");
    tuff_smooth_l1_loss(layers_input(c, TUFF_SHAPE(4)), layers_input(c, TUFF_SHAPE(5)), 1, NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "smooth_l1_loss [4] [5]");
    tuff_binary_cross_entropy_with_logits(
        layers_input(c, TUFF_SHAPE(4)), layers_input(c, TUFF_SHAPE(4)),
        &(tuff_binary_cross_entropy_desc){ .weight = layers_input(c, TUFF_SHAPE(5)) });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "binary_cross_entropy_with_logits [5] broadcast [4]");
    tuff_kl_div(layers_input(c, TUFF_SHAPE(4)), layers_input(c, TUFF_SHAPE(5)), NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "kl_div [4] [5]");
}

static void of_margins(layers_case *c) {
    const tuff_loss_desc none = { .reduction = TUFF_REDUCE_NONE };
    tuff_tensor *a = layers_input(c, TUFF_SHAPE(4, 5)), *b = layers_input(c, TUFF_SHAPE(4, 5));
    tuff_tensor *d = layers_input(c, TUFF_SHAPE(4, 5)), *target = layers_input(c, TUFF_SHAPE(4));
    layers_expect(tuff_hinge_embedding_loss(a, b, 0, &none), "hinge_embedding_loss", "margin=0 reduction=none");
    layers_expect(tuff_margin_ranking_loss(a, b, d, 0.5f, &none), "margin_ranking_loss", "margin=0.5 reduction=none");
    layers_expect(tuff_cosine_embedding_loss(a, b, target, 0.5f, NULL), "cosine_embedding_loss", "margin=0.5");
    layers_expect(tuff_triplet_margin_loss(a, b, d, 1, NULL), "triplet_margin_loss", "");
    layers_expect(tuff_triplet_margin_loss(
                      a, b, d, 0,
                      &(tuff_triplet_margin_desc){ .reduction = TUFF_REDUCE_SUM, .p = 1, .eps = 0.25f, .swap = true }),
                  "triplet_margin_loss", "margin=0 reduction=sum p=1 eps=0.25 swap=true");
    tuff_cosine_embedding_loss(a, b, d, 0, NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "cosine_embedding_loss target [4, 5]");
    tuff_triplet_margin_loss(layers_input(c, TUFF_SHAPE(4)), layers_input(c, TUFF_SHAPE(4)),
                             layers_input(c, TUFF_SHAPE(4)), 1, &(tuff_triplet_margin_desc){ .p = -1 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "triplet_margin_loss p -1");
}

static void ctc(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(7, 2, 5)), *targets = layers_index(c, TUFF_SHAPE(2, 3));
    tuff_tensor *times = layers_index(c, TUFF_SHAPE(2)), *labels = layers_index(c, TUFF_SHAPE(2));
    layers_expect(tuff_ctc_loss(x, targets, times, labels, NULL), "ctc_loss", "");
    layers_expect(
        tuff_ctc_loss(x, targets, times, labels,
                      &(tuff_ctc_loss_desc){ .blank = 4, .reduction = TUFF_REDUCE_SUM, .zero_infinity = true }),
        "ctc_loss", "blank=4 reduction=sum zero_infinity=true");
    tuff_ctc_loss(x, targets, times, labels, &(tuff_ctc_loss_desc){ .blank = 5 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "ctc_loss blank 5");
    tuff_ctc_loss(layers_input(c, TUFF_SHAPE(7, 2, 5)), layers_index(c, TUFF_SHAPE(2, 3)),
                  layers_index(c, TUFF_SHAPE(2)), layers_index(c, TUFF_SHAPE(3)), NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "ctc_loss [3] [7, 2, 5] (N)");
}

static void accuracy(layers_case *c) {
    layers_expect(tuff_accuracy(layers_input(c, TUFF_SHAPE(4, 5)), layers_index(c, TUFF_SHAPE(4))), "accuracy", "");
}

static const layers_test tests[] = {
    { "losses of classes", of_classes },
    { "linear_cross_entropy", of_a_linear_layer },
    { "losses of numbers", of_numbers },
    { "losses with a margin", of_margins },
    { "ctc_loss", ctc },
    { "accuracy", accuracy },
};
const layers_family LAYERS_LOSS = LAYERS_FAMILY(tests);
