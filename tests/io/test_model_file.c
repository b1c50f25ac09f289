/* Models saved and loaded: the same bits, nothing half loaded, a training that goes on as if never stopped. */
#include "io_test.h"

#include <stdlib.h>
#include <string.h>

#include <tuff/layers.h>

enum { BATCH = 6, INPUTS = 5, HIDDEN = 7, CLASSES = 3 };

static tuff_device *device;

static int open_device(void **state) {
    (void)state;
    if (tuff_device_open(NULL, &device) != TUFF_OK) print_error("%s\n", tuff_last_message());
    return device == NULL;
}

static int close_device(void **state) {
    (void)state;
    tuff_device_close(device);
    device = NULL;
    return 0;
}

/* A small network that is trained: a batch norm for buffers, Adam for moments. */
typedef struct net {
    tuff_model *model;
    tuff_optimizer *adam;
    tuff_graph *graph;
    tuff_program *train; /* NULL: not compiled, so that no moments exist */
    tuff_tensor *x, *label, *loss;
} net;

static net net_make(uint64_t seed, int64_t hidden, bool trains) {
    net n = { .model = tuff_model_create(device, &(tuff_model_desc){ .seed = seed }) };
    assert_non_null(n.model);
    n.adam = tuff_adam_create(n.model, &(tuff_adam_desc){ .lr = 0.01f });
    n.graph = tuff_graph_create(n.model);
    n.x = tuff_input(n.graph, "x", TUFF_F32, TUFF_SHAPE(BATCH, INPUTS));
    n.label = tuff_input(n.graph, "label", TUFF_I32, TUFF_SHAPE(BATCH));
    tuff_tensor *h = tuff_linear(n.x, &(tuff_linear_desc){ .name = "fc1", .features = hidden });
    h = tuff_relu(tuff_batch_norm(h, &(tuff_batch_norm_desc){ .name = "bn1" }));
    h = tuff_linear(h, &(tuff_linear_desc){ .name = "fc2", .features = CLASSES });
    n.loss = tuff_cross_entropy(h, n.label, NULL);
    if (tuff_graph_result(n.graph) != TUFF_OK) fail_msg("%s", tuff_graph_message(n.graph));
    tuff_program_desc desc = {
        .minimize = n.loss, .optimizer = n.adam, .outputs = (tuff_tensor *[]){ n.loss }, .output_count = 1
    };
    if (trains && tuff_compile(n.graph, &desc, &n.train) != TUFF_OK) fail_msg("%s", tuff_last_message());
    return n;
}

static void net_train(net *n, int steps, uint64_t data_seed) {
    float x[BATCH * INPUTS];
    int32_t label[BATCH];
    for (int step = 0; step < steps; step++) {
        for (int i = 0; i < BATCH * INPUTS; i++) x[i] = (float)test_random(&data_seed) / 4294967296.0f;
        for (int i = 0; i < BATCH; i++) label[i] = (int32_t)(test_random(&data_seed) % CLASSES);
        assert_int_equal(tuff_write(n->train, n->x, x, sizeof x), TUFF_OK);
        assert_int_equal(tuff_write(n->train, n->label, label, sizeof label), TUFF_OK);
        if (tuff_run(n->train) != TUFF_OK) fail_msg("%s", tuff_last_message());
    }
}

/* All states of these kinds one after the other, to be freed. */
static unsigned char *net_bits(const net *n, bool optimizer_too, size_t *size) {
    unsigned char *bits = NULL;
    *size = 0;
    for (uint32_t i = 0; i < tuff_model_state_count(n->model); i++) {
        tuff_state_info info;
        assert_int_equal(tuff_model_state_info(n->model, i, &info), TUFF_OK);
        if (info.kind == TUFF_STATE_OPTIMIZER && !optimizer_too) continue;
        size_t bytes = (size_t)tuff_shape_count(&info.shape) * tuff_type_size(info.type);
        bits = realloc(bits, *size + bytes);
        if (tuff_model_read(n->model, info.name, bits + *size, bytes) != TUFF_OK) fail_msg("%s", tuff_last_message());
        *size += bytes;
    }
    return bits;
}

static void expect_same_bits(const net *a, const net *b, bool optimizer_too) {
    size_t size_a, size_b;
    unsigned char *bits_a = net_bits(a, optimizer_too, &size_a), *bits_b = net_bits(b, optimizer_too, &size_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(bits_a, bits_b, size_a);
    free(bits_a);
    free(bits_b);
}

static void net_free(net *n) {
    tuff_program_destroy(n->train);
    tuff_graph_destroy(n->graph);
    tuff_model_destroy(n->model);
}

static void save(const net *n, const char *path, bool no_optimizer) {
    if (tuff_save(n->model, path, &(tuff_save_desc){ .no_optimizer = no_optimizer }) != TUFF_OK) {
        fail_msg("%s", tuff_last_message());
    }
}

static void load(net *n, const char *path) {
    if (tuff_load(n->model, path, NULL) != TUFF_OK) fail_msg("%s", tuff_last_message());
}

static void goes_on_as_if_never_stopped(void **state) {
    (void)state;
    net a = net_make(1, HIDDEN, true), b = net_make(2, HIDDEN, true);
    net_train(&a, 4, 10);
    const char *path = test_path("trained.safetensors");
    save(&a, path, false);
    load(&b, path);
    expect_same_bits(&a, &b, true);
    assert_int_equal(tuff_optimizer_step_count(b.adam), 4);
    net_train(&a, 3, 11);
    net_train(&b, 3, 11);
    expect_same_bits(&a, &b, true);
    net_free(&a);
    net_free(&b);
}

static void saving_is_in_call_order_with_runs(void **state) {
    (void)state;
    net a = net_make(1, HIDDEN, true), b = net_make(1, HIDDEN, true);
    const char *path = test_path("order.safetensors");
    net_train(&a, 2, 10);
    save(&a, path, false); /* while the second run may still be in flight */
    net_train(&a, 2, 12);
    net_train(&b, 2, 10);
    net_train(&b, 2, 12);
    expect_same_bits(&a, &b, true); /* saving changed nothing */
    load(&b, path);                 /* steps 3 and 4 are behind it: they must not come after the load */
    net_train(&b, 2, 12);
    expect_same_bits(&a, &b, true);
    net_free(&a);
    net_free(&b);
}

static void without_the_optimizer(void **state) {
    (void)state;
    net a = net_make(1, HIDDEN, true), b = net_make(2, HIDDEN, true), c = net_make(3, HIDDEN, false);
    net_train(&a, 2, 10);
    net_train(&b, 5, 10);
    const char *path = test_path("weights.safetensors");
    save(&a, path, true);
    tuff_safetensors *file = NULL;
    assert_int_equal(tuff_safetensors_open(path, &file), TUFF_OK);
    assert_int_equal(tuff_safetensors_count(file), 8);
    assert_null(tuff_safetensors_metadata(file, "tuff.step_count.optimizer"));
    tuff_safetensors_close(file);
    load(&b, path);
    expect_same_bits(&a, &b, false);
    assert_int_equal(tuff_optimizer_step_count(b.adam), 5); /* not in the file: stays */

    /* a whole file into a model that has no moments (yet): the weights come, the optimizer starts anew */
    save(&a, path, false);
    load(&c, path);
    expect_same_bits(&a, &c, false);
    assert_int_equal(tuff_optimizer_step_count(c.adam), 0);
    net_free(&a);
    net_free(&b);
    net_free(&c);
}

/* The file that `change` makes of a's is refused, and b keeps every bit. */
static void expect_untouched(net *b, const char *path, const char *word, const char *other_word) {
    size_t size, size_after;
    unsigned char *before = net_bits(b, true, &size);
    uint64_t steps = tuff_optimizer_step_count(b->adam);
    EXPECT_FAILURE(tuff_load(b->model, path, NULL), TUFF_ERROR_FILE, path, word, other_word);
    unsigned char *after = net_bits(b, true, &size_after);
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    assert_int_equal(tuff_optimizer_step_count(b->adam), steps);
    free(before);
    free(after);
}

static void never_half_loaded(void **state) {
    (void)state;
    net a = net_make(1, HIDDEN, true), b = net_make(2, HIDDEN, true), wide = net_make(3, HIDDEN + 1, true);
    net_train(&a, 2, 10);
    net_train(&b, 1, 10);
    const char *path = test_path("trained.safetensors");

    save(&wide, path, false);
    expect_untouched(&b, path, "fc1.weight", "[8, 5]");

    /* all is right but the last tensor: its type, its name, one too many, one too few; then the step count */
    save(&a, path, false);
    tuff_safetensors *file = NULL;
    assert_int_equal(tuff_safetensors_open(path, &file), TUFF_OK);
    uint32_t count = tuff_safetensors_count(file), at = count;
    tuff_file_tensor *tensors = calloc(count + 1, sizeof *tensors);
    for (uint32_t i = 0; i < count; i++) {
        tensors[i] = *tuff_safetensors_at(file, i);
        if (strcmp(tensors[i].name, "fc2.bias") == 0) at = i;
    }
    assert_true(at < count);
    const char *const steps[] = { "tuff.step_count.optimizer", "2" };
    path = test_path("changed.safetensors");

    tensors[at].type = TUFF_I32;
    assert_int_equal(tuff_safetensors_write(path, tensors, count, steps, 1), TUFF_OK);
    expect_untouched(&b, path, "\"fc2.bias\" is I32 [3]", "F32 [3]");
    tensors[at].type = TUFF_F32;

    tensors[at].shape = TUFF_SHAPE(1, CLASSES);
    assert_int_equal(tuff_safetensors_write(path, tensors, count, steps, 1), TUFF_OK);
    expect_untouched(&b, path, "[1, 3]", "[3]");
    tensors[at].shape = TUFF_SHAPE(CLASSES);

    tensors[count] = tensors[at];
    tensors[count].name = "fc3.bias";
    assert_int_equal(tuff_safetensors_write(path, tensors, count + 1, steps, 1), TUFF_OK);
    expect_untouched(&b, path, "fc3.bias", "ignore_extra");

    tuff_file_tensor whole = tensors[at];
    tensors[at] = tensors[count - 1];
    assert_int_equal(tuff_safetensors_write(path, tensors, count - 1, steps, 1), TUFF_OK);
    expect_untouched(&b, path, "fc2.bias", "partial");
    tensors[at] = whole;

    static const char *const bad_counts[] = { "two", "-2", "", "99999999999999999999" };
    for (size_t i = 0; i < sizeof bad_counts / sizeof bad_counts[0]; i++) {
        const char *const bad[] = { "tuff.step_count.optimizer", bad_counts[i] };
        assert_int_equal(tuff_safetensors_write(path, tensors, count, bad, 1), TUFF_OK);
        expect_untouched(&b, path, "step count", bad_counts[i]);
    }
    free(tensors);
    tuff_safetensors_close(file);

    /* cut in the middle */
    size_t size;
    unsigned char *bytes = test_read(test_path("trained.safetensors"), &size);
    expect_untouched(&b, test_file("cut.safetensors", bytes, size - 5), "truncated", "bytes");
    free(bytes);
    net_free(&a);
    net_free(&b);
    net_free(&wide);
}

static void partly_on_request(void **state) {
    (void)state;
    net a = net_make(1, HIDDEN, false), b = net_make(2, HIDDEN, false);
    float bias[CLASSES] = { 1, 2, 3 }, read[CLASSES], weight[HIDDEN * INPUTS], weight_after[HIDDEN * INPUTS];
    const tuff_file_tensor tensors[] = {
        { .name = "fc2.bias", .type = TUFF_F32, .shape = TUFF_SHAPE(CLASSES), .data = bias, .size = sizeof bias },
        { .name = "head.bias", .type = TUFF_F32, .shape = TUFF_SHAPE(CLASSES), .data = bias, .size = sizeof bias },
        { .name = "bn1.num_batches_tracked", .type = TUFF_F32, .shape = TUFF_SCALAR, .data = bias, .size = 4 },
    };
    const char *path = test_path("part.safetensors");
    assert_int_equal(tuff_safetensors_write(path, tensors, 3, NULL, 0), TUFF_OK);
    assert_int_equal(tuff_model_read(b.model, "fc1.weight", weight, sizeof weight), TUFF_OK);
    EXPECT_FAILURE(tuff_load(b.model, path, &(tuff_load_desc){ .partial = true }), TUFF_ERROR_FILE, "1 tensors",
                   "head.bias");
    EXPECT_FAILURE(tuff_load(b.model, path, &(tuff_load_desc){ .ignore_extra = true }), TUFF_ERROR_FILE, "7 states",
                   "fc1.weight, fc1.bias", "fc2.weight");
    if (tuff_load(b.model, path, &(tuff_load_desc){ .partial = true, .ignore_extra = true }) != TUFF_OK) {
        fail_msg("%s", tuff_last_message());
    }
    assert_int_equal(tuff_model_read(b.model, "fc2.bias", read, sizeof read), TUFF_OK);
    assert_memory_equal(read, bias, sizeof bias);
    assert_int_equal(tuff_model_read(b.model, "fc1.weight", weight_after, sizeof weight_after), TUFF_OK);
    assert_memory_equal(weight, weight_after, sizeof weight);
    net_free(&a);
    net_free(&b);
}

static void wrong_arguments(void **state) {
    (void)state;
    net a = net_make(1, HIDDEN, false);
    EXPECT_FAILURE(tuff_save(NULL, "x", NULL), TUFF_ERROR_ARGUMENT, "model");
    EXPECT_FAILURE(tuff_save(a.model, NULL, NULL), TUFF_ERROR_ARGUMENT, "path");
    EXPECT_FAILURE(tuff_load(NULL, "x", NULL), TUFF_ERROR_ARGUMENT, "model");
    EXPECT_FAILURE(tuff_load(a.model, NULL, NULL), TUFF_ERROR_ARGUMENT, "path");
    EXPECT_FAILURE(tuff_load(a.model, test_path("nowhere"), NULL), TUFF_ERROR_FILE, "nowhere");
    EXPECT_FAILURE(tuff_save(a.model, test_path("no/folder"), NULL), TUFF_ERROR_FILE, "no/folder");
    net_free(&a);
}

/* What a model learned loads into one that generates, whatever the length of its cache, and back. */
static tuff_model *attention_model(uint64_t seed, int64_t cache_length) {
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = seed });
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(1, 2, 4));
    tuff_tensor *y = tuff_multihead_attention(
        x, NULL, NULL, &(tuff_multihead_attention_desc){ .name = "a", .heads = 2, .cache_length = cache_length });
    if (!y) fail_msg("%s", tuff_last_message());
    tuff_graph_destroy(graph);
    return model;
}

static void caches_stay_out(void **state) {
    (void)state;
    tuff_model *models[] = { attention_model(1, 0), attention_model(2, 8), attention_model(3, 16) };
    float weight[3][16], cache[32];
    const char *path = test_path("caches.safetensors");
    for (int from = 0; from < 3; from++) {
        assert_int_equal(tuff_save(models[from], path, NULL), TUFF_OK);
        tuff_safetensors *file = NULL;
        assert_int_equal(tuff_safetensors_open(path, &file), TUFF_OK);
        assert_int_equal(tuff_safetensors_count(file), 4);
        assert_null(tuff_safetensors_find(file, "a.key_cache"));
        tuff_safetensors_close(file);
        for (int to = 0; to < 3; to++) {
            if (tuff_load(models[to], path, NULL) != TUFF_OK) fail_msg("%s", tuff_last_message());
            assert_int_equal(tuff_model_read(models[to], "a.out_proj.weight", weight[to], sizeof weight[to]), TUFF_OK);
            assert_memory_equal(weight[to], weight[0], sizeof weight[0]);
        }
    }
    /* a cache is a state that can be read all the same */
    tuff_state_info info;
    uint32_t caches = 0;
    for (uint32_t i = 0; i < tuff_model_state_count(models[1]); i++) {
        assert_int_equal(tuff_model_state_info(models[1], i, &info), TUFF_OK);
        caches += info.kind == TUFF_STATE_CACHE;
    }
    assert_int_equal(caches, 2);
    assert_int_equal(tuff_model_read(models[1], "a.key_cache", cache, sizeof cache), TUFF_OK);
    for (int i = 0; i < 3; i++) tuff_model_destroy(models[i]);
}

int test_model_files(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on_as_if_never_stopped),
        cmocka_unit_test(saving_is_in_call_order_with_runs),
        cmocka_unit_test(without_the_optimizer),
        cmocka_unit_test(never_half_loaded),
        cmocka_unit_test(caches_stay_out),
        cmocka_unit_test(partly_on_request),
        cmocka_unit_test(wrong_arguments),
    };
    return cmocka_run_group_tests_name("model files", tests, open_device, close_device);
}
