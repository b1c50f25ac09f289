/* Two networks for the digits: a convolutional one and a plain one. */
#include "network.h"

#include <string.h>

/* Two convolutions, each followed by pooling, and two dense layers: 421,642 parameters. */
static tuff_tensor *build_cnn(tuff_tensor *image) {
    tuff_tensor *x = image;
    x = tuff_conv2d(x, &(tuff_conv2d_desc){ .name = "conv1", .channels = 32, .kernel = { 3, 3 }, .padding = { 1, 1 } });
    x = tuff_max_pool2d(tuff_relu(x), &(tuff_pool2d_desc){ .kernel = { 2, 2 } });
    x = tuff_conv2d(x, &(tuff_conv2d_desc){ .name = "conv2", .channels = 64, .kernel = { 3, 3 }, .padding = { 1, 1 } });
    x = tuff_max_pool2d(tuff_relu(x), &(tuff_pool2d_desc){ .kernel = { 2, 2 } });
    x = tuff_dropout(tuff_flatten(x), 0.25f, "dropout1");
    x = tuff_relu(tuff_linear(x, &(tuff_linear_desc){ .name = "fc1", .features = 128 }));
    x = tuff_dropout(x, 0.25f, "dropout2");
    return tuff_linear(x, &(tuff_linear_desc){ .name = "fc2", .features = CLASSES });
}

/* Three dense layers: 535,818 parameters. */
static tuff_tensor *build_mlp(tuff_tensor *image) {
    tuff_tensor *x = tuff_flatten(image);
    x = tuff_relu(tuff_linear(x, &(tuff_linear_desc){ .name = "fc1", .features = 512 }));
    x = tuff_dropout(x, 0.2f, "dropout1");
    x = tuff_relu(tuff_linear(x, &(tuff_linear_desc){ .name = "fc2", .features = 256 }));
    x = tuff_dropout(x, 0.3f, "dropout2");
    return tuff_linear(x, &(tuff_linear_desc){ .name = "fc3", .features = CLASSES });
}

static const recipe recipes[] = {
    { .name = "cnn", .build = build_cnn, .epochs = 3, .batch = 64, .lr = 5e-3, .weight_decay = -1 /* none */ },
    { .name = "mlp", .build = build_mlp, .epochs = 20, .batch = 64, .lr = 2e-3, .weight_decay = 0.01f },
};

const recipe *recipe_find(const char *name) {
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
        if (strcmp(recipes[i].name, name) == 0) return &recipes[i];
    }
    return NULL;
}

tuff_result network_build(tuff_model *model, const recipe *recipe, int64_t batch, network *n) {
    n->graph = tuff_graph_create(model);
    n->image = tuff_input(n->graph, "image", TUFF_F32, TUFF_SHAPE(batch, 1, IMAGE_SIDE, IMAGE_SIDE));
    n->label = tuff_input(n->graph, "label", TUFF_I32, TUFF_SHAPE(batch));
    tuff_tensor *logits = recipe->build(n->image);
    n->loss = tuff_cross_entropy(logits, n->label, NULL);
    n->accuracy = tuff_accuracy(logits, n->label);
    return tuff_graph_result(n->graph);
}

tuff_result network_compile(const network *n, const char *name, int64_t batch, tuff_optimizer *optimizer,
                            tuff_program **program) {
    const tuff_input_size sizes[] = {
        { n->image, TUFF_SHAPE(batch, 1, IMAGE_SIDE, IMAGE_SIDE) },
        { n->label, TUFF_SHAPE(batch) },
    };
    tuff_tensor *const outputs[] = { n->loss, n->accuracy };
    return tuff_compile(n->graph,
                        &(tuff_program_desc){ .name = name,
                                              .minimize = optimizer != NULL ? n->loss : NULL,
                                              .optimizer = optimizer,
                                              .outputs = outputs,
                                              .output_count = 2,
                                              .input_sizes = sizes,
                                              .input_size_count = 2,
                                              .evaluate = optimizer == NULL },
                        program);
}
