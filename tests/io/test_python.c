/* Python's readers open what is written here, and weights that PyTorch wrote give PyTorch's results. Where
 * Python, NumPy or PyTorch are missing the test says so and passes. */
#include "io_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <tuff/layers.h>
#include <zlib.h>

enum { PYTHON_LACKS_IT = 77 };

static void python_reads_what_is_written(void **state) {
    (void)state;
    float weight[5 * 7];
    int32_t steps[3] = { -1, 0, INT32_MAX };
    uint64_t random = 5;
    for (int i = 0; i < 35; i++) weight[i] = (float)test_random(&random) / 1e5f - 2e4f;
    const tuff_file_tensor tensors[] = {
        { .name = "a.weight", .type = TUFF_F32, .shape = TUFF_SHAPE(5, 1, 7), .data = weight, .size = sizeof weight },
        { .name = "b", .type = TUFF_F32, .shape = TUFF_SCALAR, .data = weight, .size = 4 },
        { .name = "steps", .type = TUFF_I32, .shape = TUFF_SHAPE(3), .data = steps, .size = sizeof steps },
    };
    const char *const metadata[] = { "format", "pt", "note", "\"quoted\" \xc3\xa4" };
    const char *path = test_path("for_python.safetensors");
    assert_int_equal(tuff_safetensors_write(path, tensors, 3, metadata, 2), TUFF_OK);
    char arguments[600];
    const char *listing = test_path("listing.txt");
    snprintf(arguments, sizeof arguments, "'%s' '%s'", path, listing);
    int status = test_python("safetensors_plain.py", arguments);
    if (status == PYTHON_LACKS_IT) {
        print_message("skipped: no Python with NumPy here\n");
        return;
    }
    assert_int_equal(status, 0);
    char expected[512];
    snprintf(expected, sizeof expected, "a.weight float32 [5,1,7] %08lx\nb float32 [] %08lx\nsteps int32 [3] %08lx\n",
             crc32(0, (const unsigned char *)weight, sizeof weight), crc32(0, (const unsigned char *)weight, 4),
             crc32(0, (const unsigned char *)steps, sizeof steps));
    size_t size;
    unsigned char *text = test_read(listing, &size);
    text[size] = '\0';
    assert_string_equal((const char *)text, expected);
    free(text);
}

/* The network of pytorch_model.py. */
static tuff_tensor *build(tuff_tensor *x) {
    x = tuff_conv2d(x,
                    &(tuff_conv2d_desc){
                        .name = "conv1", .channels = 5, .kernel = { 3, 3 }, .stride = { 2, 2 }, .padding = { 1, 1 } });
    x = tuff_relu(tuff_batch_norm(x, &(tuff_batch_norm_desc){ .name = "bn1" }));
    x = tuff_gelu(tuff_conv2d(x, &(tuff_conv2d_desc){ .name = "conv2", .channels = 7, .kernel = { 3, 2 } }), NULL);
    x = tuff_flatten(tuff_max_pool2d(x, &(tuff_pool2d_desc){ .kernel = { 2, 2 } }));
    x = tuff_tanh(tuff_linear(x, &(tuff_linear_desc){ .name = "fc1", .features = 11 }));
    return tuff_linear(x, &(tuff_linear_desc){ .name = "fc2", .features = 3, .no_bias = true });
}

static void pytorchs_weights_give_pytorchs_outputs(void **state) {
    (void)state;
    char arguments[300];
    snprintf(arguments, sizeof arguments, "'%s'", test_path("."));
    int status = test_python("pytorch_model.py", arguments);
    if (status == PYTHON_LACKS_IT) {
        print_message("skipped: no Python with PyTorch here\n");
        return;
    }
    assert_int_equal(status, 0);
    tuff_safetensors *values = NULL;
    if (tuff_safetensors_open(test_path("values.safetensors"), &values) != TUFF_OK) fail_msg("%s", tuff_last_message());
    const tuff_file_tensor *x = tuff_safetensors_find(values, "x"), *y = tuff_safetensors_find(values, "y");

    tuff_device *device = NULL;
    if (tuff_device_open(NULL, &device) != TUFF_OK) fail_msg("%s", tuff_last_message());
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *input = tuff_input(graph, "x", TUFF_F32, x->shape), *output = build(input);
    tuff_program *program = NULL;
    tuff_program_desc desc = { .outputs = &output, .output_count = 1, .evaluate = true };
    if (tuff_compile(graph, &desc, &program) != TUFF_OK) fail_msg("%s", tuff_last_message());
    if (tuff_load(model, test_path("model.safetensors"), NULL) != TUFF_OK) fail_msg("%s", tuff_last_message());
    assert_int_equal(tuff_write(program, input, x->data, x->size), TUFF_OK);
    if (tuff_run(program) != TUFF_OK) fail_msg("%s", tuff_last_message());
    float *here = malloc(y->size);
    if (tuff_read(program, output, here, y->size) != TUFF_OK) fail_msg("%s", tuff_last_message());
    const float *there = y->data;
    for (size_t i = 0; i < y->size / sizeof *here; i++) {
        if (!(fabsf(here[i] - there[i]) <= 2e-6f + 1e-5f * fabsf(there[i]))) {
            fail_msg("output %zu is %.9g here, %.9g in PyTorch", i, (double)here[i], (double)there[i]);
        }
    }

    /* and back: what is saved here is what PyTorch wrote, its count of batches aside */
    assert_int_equal(tuff_save(model, test_path("back.safetensors"), NULL), TUFF_OK);
    tuff_safetensors *back = NULL, *from = NULL;
    assert_int_equal(tuff_safetensors_open(test_path("back.safetensors"), &back), TUFF_OK);
    assert_int_equal(tuff_safetensors_open(test_path("model.safetensors"), &from), TUFF_OK);
    assert_int_equal(tuff_safetensors_count(back) + 1, tuff_safetensors_count(from));
    for (uint32_t i = 0; i < tuff_safetensors_count(back); i++) {
        const tuff_file_tensor *a = tuff_safetensors_at(back, i), *b = tuff_safetensors_find(from, a->name);
        assert_non_null(b);
        assert_int_equal(a->size, b->size);
        assert_memory_equal(a->data, b->data, a->size);
    }
    tuff_safetensors_close(back);
    tuff_safetensors_close(from);
    tuff_safetensors_close(values);
    free(here);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    tuff_device_close(device);
}

int test_python_files(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(python_reads_what_is_written),
        cmocka_unit_test(pytorchs_weights_give_pytorchs_outputs),
    };
    return cmocka_run_group_tests_name("Python", tests, NULL, NULL);
}
