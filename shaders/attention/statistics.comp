#version 450
#extension GL_GOOGLE_include_directive : require
// For each query the numbers that attention's backward kernels need: (log_sum, D), D = sum over f of dO[f] O[f], less
// the gradient of log_sum where there is one. In front of them the words of the step record that dropout takes, since
// those kernels have no binding to spare. One invocation a row.
#define STEP_RECORD_BINDING 3
#include "common/step_record.glsl"
#include "gather/flat.glsl"

layout(set = 0, binding = 0) readonly buffer Gradient { float gradient[]; };
layout(set = 0, binding = 1) readonly buffer Output { float result[]; };
layout(set = 0, binding = 2) readonly buffer LogSum { float log_sum[]; };
layout(set = 0, binding = 4) writeonly buffer Statistics { uint statistics[]; };
layout(set = 0, binding = 5) readonly buffer LogSumGradient { float log_sum_gradient[]; };

layout(constant_id = 0) const bool LOG_SUM_GRADIENT = false;

layout(push_constant) uniform Params {
    uint rows, features;
    uint begin; // the row before the bound slice of dO and O
    uint first_gradient, first_output, first_log_sum, first_statistics, first_log_sum_gradient;
};

void main() {
    uint row = flat_index();
    if (begin == 0 && row == 0) {
        statistics[first_statistics] = step_record.seed.x;
        statistics[first_statistics + 1] = step_record.seed.y;
        statistics[first_statistics + 2] = step_record.step.x;
        statistics[first_statistics + 3] = step_record.step.y;
    }
    if (row >= rows) return;
    uint g = first_gradient + row * features, y = first_output + row * features;
    float sum = 0;
    for (uint f0 = 0; f0 < features; f0 += 16) {
        float some = 0;
        for (uint f = f0; f < min(f0 + 16, features); f++) some += gradient[g + f] * result[y + f];
        sum += some;
    }
    if (LOG_SUM_GRADIENT) sum -= log_sum_gradient[first_log_sum_gradient + row];
    uint at = first_statistics + 4 + 2 * (begin + row);
    statistics[at] = floatBitsToUint(log_sum[first_log_sum + row]);
    statistics[at + 1] = floatBitsToUint(sum);
}
