// The public headers as a C++17 program sees them: a small convolution network takes a few steps, and its loss falls.
#include <tuff/io.h>
#include <tuff/layers.h>
#include <tuff/tuff.h>
#include <tuff/vulkan.h>

#include <cstdio>
#include <vector>

static int fail(const char *where) {
    std::fprintf(stderr, "%s: %s\n", where, tuff_last_message());
    return 1;
}

int main() {
    tuff_device_desc device_desc = {};
    tuff_device *device = nullptr;
    if (tuff_device_open(&device_desc, &device) != TUFF_OK) return fail("tuff_device_open");

    tuff_model_desc model_desc = {};
    model_desc.seed = 7;
    tuff_model *model = tuff_model_create(device, &model_desc);
    tuff_sgd_desc sgd_desc = {};
    sgd_desc.lr = 0.1f;
    sgd_desc.momentum = 0.9f;
    tuff_optimizer *sgd = tuff_sgd_create(model, &sgd_desc);
    tuff_graph *graph = tuff_graph_create(model);

    constexpr int batch = 8, size = 6;
    tuff_tensor *image = tuff_input(graph, "image", TUFF_F32, TUFF_SHAPE(batch, 1, size, size));
    tuff_tensor *label = tuff_input(graph, "label", TUFF_I32, TUFF_SHAPE(batch));
    tuff_conv2d_desc conv = {};
    conv.name = "conv";
    conv.channels = 4;
    conv.kernel[0] = conv.kernel[1] = 3;
    conv.padding[0] = conv.padding[1] = 1;
    tuff_linear_desc linear = {};
    linear.name = "fc";
    linear.features = 2;
    tuff_tensor *x = tuff_linear(tuff_flatten(tuff_relu(tuff_conv2d(image, &conv))), &linear);
    tuff_tensor *loss = tuff_cross_entropy(x, label, nullptr);

    tuff_program_desc program_desc = {};
    program_desc.minimize = loss;
    program_desc.optimizer = sgd;
    program_desc.outputs = &loss;
    program_desc.output_count = 1;
    tuff_program *train = nullptr;
    if (tuff_compile(graph, &program_desc, &train) != TUFF_OK) return fail("tuff_compile");

    // bright on the left or on the right
    std::vector<float> pixels(batch * size * size);
    std::vector<int32_t> labels(batch);
    for (int n = 0; n < batch; n++) {
        labels[n] = n % 2;
        for (int i = 0; i < size * size; i++)
            pixels[n * size * size + i] = (i % size < size / 2) == (labels[n] == 0) ? 1.0f : 0.1f * float(n);
    }
    if (tuff_write(train, image, pixels.data(), pixels.size() * sizeof(float)) != TUFF_OK) return fail("tuff_write");
    if (tuff_write(train, label, labels.data(), labels.size() * sizeof(int32_t)) != TUFF_OK) return fail("tuff_write");

    float first = 0.0f, last = 0.0f;
    for (int step = 0; step < 40; step++) {
        if (tuff_run(train) != TUFF_OK) return fail("tuff_run");
        if (tuff_read(train, loss, step ? &last : &first, sizeof(float)) != TUFF_OK) return fail("tuff_read");
    }
    tuff_program_destroy(train);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    tuff_device_close(device);
    std::printf("loss %g, then %g\n", double(first), double(last));
    return last < 0.5f * first ? 0 : 1;
}
