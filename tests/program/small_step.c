/* y = W6 + 0.5 (W5 + 0.5 (... (W1 + 0.5 (x + bias)))) element by element, then each weight moves towards what its layer
 * put out. Every float is the same on any device: products and sums of two numbers, not contracted. */
#include "small_step.h"

static const float factor = 0.5f, rate = 0.25f;

void small_step_batch(uint32_t i, float *x) {
    for (uint32_t k = 0; k < STEP_WIDTH; k++) x[k] = (float)((int)((i * 37 + k * 11) % 101) - 50) / 16.0f;
}

static float first_weight(uint32_t layer, uint32_t k) {
    return (float)((layer * 29 + k * 7) % 53) / 8.0f - 3.0f;
}

static tuff_tensor tensor(uint32_t id) {
    return (tuff_tensor){ .id = id };
}

static void build(small_step *step) {
    lowered *l = step->lowered = lowered_new(step->device);
    const uint64_t bytes = STEP_WIDTH * sizeof(float);
    l->model = &step->model;
    l->optimizer = &step->optimizer;
    uint32_t x = add_storage(l, STORAGE_INPUT, bytes, "x"), bias = add_storage(l, STORAGE_INPUT, 4, "bias");
    uint32_t y = add_storage(l, STORAGE_OUTPUT, bytes, "y");
    uint32_t record = add_storage(l, STORAGE_STEP, sizeof(step_record), "step record");
    uint32_t record_out = add_storage(l, STORAGE_OUTPUT, sizeof(step_record), "record");
    uint32_t zero = add_storage(l, STORAGE_CONSTANT, 4, "zero"), weights[STEP_LAYERS];
    l->storages[zero].data = calloc(1, 4);
    step->x = tensor(l->storages[x].tensor), step->bias = tensor(l->storages[bias].tensor);
    step->y = tensor(l->storages[y].tensor), step->record = tensor(l->storages[record_out].tensor);
    for (uint32_t i = 0; i < STEP_LAYERS; i++) {
        weights[i] = add_storage(l, STORAGE_STATE, bytes, "weight");
        l->storages[weights[i]].range = (buffer_range){ step->weights, i * 2048, bytes };
        step->hidden[i] = add_storage(l, STORAGE_TRANSIENT, bytes, "hidden");
    }
    uint32_t biased = add_storage(l, STORAGE_TRANSIENT, bytes, "biased"), last = biased;
    add_mix(l, SEGMENT_FORWARD, biased, x, bias, 1, "x + bias");
    for (uint32_t i = 0; i < STEP_LAYERS; i++) {
        add_mix(l, SEGMENT_FORWARD, step->hidden[i], last, weights[i], factor, "layer");
        last = step->hidden[i];
    }
    add_copy(l, SEGMENT_FORWARD, y, last);
    add_copy(l, SEGMENT_FORWARD, record_out, record);
    uint32_t change[STEP_LAYERS];
    for (uint32_t i = STEP_LAYERS; i-- > 0;) {
        change[i] = add_storage(l, STORAGE_TRANSIENT, bytes, "change");
        add_mix(l, SEGMENT_BACKWARD, change[i], step->hidden[i], zero, rate, "change");
    }
    for (uint32_t i = 0; i < STEP_LAYERS; i++) {
        uint32_t moved = add_storage(l, STORAGE_TRANSIENT, bytes, "moved");
        add_mix(l, SEGMENT_UPDATE, moved, weights[i], change[i], rate, "move");
        add_copy(l, SEGMENT_UPDATE, weights[i], moved);
    }
}

static void open(small_step *step, const program_options *options) {
    static const program_options defaults;
    step->model = (tuff_model){ .device = step->device, .seed = 0x123456789abcdefull };
    step->optimizer = (tuff_optimizer){ .model = &step->model, .lr = 0.125f, .beta1 = 0.9f, .beta2 = 0.999f };
    build(step);
    ASSERT_OK(program_create(step->lowered, options ? options : &defaults, &step->program));
}

void small_step_open(small_step *step, tuff_device *device, const program_options *options) {
    *step = (small_step){ .device = device };
    ASSERT_OK(buffer_create(device, BUFFER_DEVICE, STEP_LAYERS * 2048, "weights", &step->weights));
    for (uint32_t i = 0; i < STEP_LAYERS; i++) {
        float first[STEP_WIDTH];
        for (uint32_t k = 0; k < STEP_WIDTH; k++) first[k] = first_weight(i, k);
        ASSERT_OK(device_upload(device, (buffer_range){ step->weights, i * 2048, sizeof first }, first));
    }
    open(step, options);
}

void small_step_open_beside(small_step *step, const small_step *other, const program_options *options) {
    *step = (small_step){ .device = other->device, .weights = other->weights, .lent = true };
    open(step, options);
}

void small_step_close(small_step *step) {
    tuff_program_destroy(step->program);
    if (!step->lent) buffer_destroy(step->weights);
}

void small_step_expect(uint32_t runs, small_step_values *values) {
    for (uint32_t i = 0; i < STEP_LAYERS; i++)
        for (uint32_t k = 0; k < STEP_WIDTH; k++) values->weights[i][k] = first_weight(i, k);
    for (uint32_t run = 0; run < runs; run++) {
        float x[STEP_WIDTH];
        small_step_batch(run, x);
        for (uint32_t k = 0; k < STEP_WIDTH; k++) {
            float value = x[k] + 0.5f;
            for (uint32_t i = 0; i < STEP_LAYERS; i++) {
                float *weight = &values->weights[i][k], scaled = value * factor;
                value = scaled + *weight;
                float change = value * rate, kept = *weight * rate;
                *weight = kept + change;
            }
            values->y[k] = value;
        }
    }
}

void small_step_read(small_step *step, small_step_values *values) {
    ASSERT_OK(tuff_read(step->program, &step->y, values->y, sizeof values->y));
    for (uint32_t i = 0; i < STEP_LAYERS; i++)
        ASSERT_OK(device_download(step->device, (buffer_range){ step->weights, i * 2048, sizeof values->weights[i] },
                                  values->weights[i]));
}
