/* A user's program: a line through points, fitted by a linear layer, saved and loaded. Uses the core and tuff_io, so
 * that linking it shows that an installation is whole. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tuff/io.h>
#include <tuff/layers.h>
#include <tuff/tuff.h>

static int fail(const char *where) {
    fprintf(stderr, "%s: %s\n", where, tuff_last_message());
    return 1;
}

int main(void) {
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", TUFF_VERSION_MAJOR, TUFF_VERSION_MINOR, TUFF_VERSION_PATCH);
    if (strcmp(version, tuff_version()) != 0) {
        fprintf(stderr, "headers of version %s, library of version %s\n", version, tuff_version());
        return 1;
    }

    tuff_device *device = NULL;
    if (tuff_device_open(NULL, &device) != TUFF_OK) return fail("tuff_device_open");
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = 1 });
    tuff_optimizer *adam = tuff_adam_create(model, &(tuff_adam_desc){ .lr = 0.05f });
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(16, 1));
    tuff_tensor *y = tuff_input(graph, "y", TUFF_F32, TUFF_SHAPE(16, 1));
    tuff_tensor *loss = tuff_mse_loss(tuff_linear(x, &(tuff_linear_desc){ .name = "line", .features = 1 }), y, NULL);
    tuff_program *train = NULL;
    tuff_program_desc desc = { .minimize = loss, .optimizer = adam, .outputs = &loss, .output_count = 1 };
    if (tuff_compile(graph, &desc, &train) != TUFF_OK) return fail("tuff_compile");

    float xs[16], ys[16];
    for (int i = 0; i < 16; i++) {
        xs[i] = (float)i / 8.0f - 1.0f;
        ys[i] = 3.0f * xs[i] + 0.5f;
    }
    if (tuff_write(train, x, xs, sizeof xs) != TUFF_OK || tuff_write(train, y, ys, sizeof ys) != TUFF_OK)
        return fail("tuff_write");
    for (int step = 0; step < 400; step++)
        if (tuff_run(train) != TUFF_OK) return fail("tuff_run");
    float value;
    if (tuff_read(train, loss, &value, sizeof value) != TUFF_OK) return fail("tuff_read");

    const char *folder = getenv("TMPDIR");
    char path[1024];
    snprintf(path, sizeof path, "%s/tuff-consumer-%p.safetensors", folder ? folder : "/tmp", (void *)model);
    if (tuff_save(model, path, NULL) != TUFF_OK) return fail("tuff_save");
    float slope = 0.0f, zero = 0.0f;
    if (tuff_model_write(model, "line.weight", &zero, sizeof zero) != TUFF_OK) return fail("tuff_model_write");
    tuff_result loaded = tuff_load(model, path, NULL);
    remove(path);
    if (loaded != TUFF_OK) return fail("tuff_load");
    if (tuff_model_read(model, "line.weight", &slope, sizeof slope) != TUFF_OK) return fail("tuff_model_read");

    tuff_program_destroy(train);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    tuff_device_close(device);
    printf("tuff %s: loss %g, slope %g (3 is true)\n", tuff_version(), (double)value, (double)slope);
    return fabsf(slope - 3.0f) < 0.1f && value < 0.01f ? 0 : 1;
}
