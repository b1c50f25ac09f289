/* The optimizers' update rules, as torch.optim documents them. */
#include "reference.h"

#include <math.h>

void ref_sgd_step(const ref_sgd *sgd, int64_t step, int64_t count, double *parameter, const double *gradient,
                  double *buffer) {
    for (int64_t i = 0; i < count; i++) {
        double g = gradient[i] + sgd->weight_decay * parameter[i];
        if (sgd->momentum != 0) {
            buffer[i] = step == 1 ? g : sgd->momentum * buffer[i] + (1 - sgd->dampening) * g;
            g = sgd->nesterov ? g + sgd->momentum * buffer[i] : buffer[i];
        }
        parameter[i] -= sgd->lr * g;
    }
}

void ref_adam_step(const ref_adam *adam, int64_t step, int64_t count, double *parameter, const double *gradient,
                   double *first, double *second) {
    double correction1 = 1 - pow(adam->beta1, (double)step), correction2 = 1 - pow(adam->beta2, (double)step);
    for (int64_t i = 0; i < count; i++) {
        double g = gradient[i];
        if (adam->decoupled)
            parameter[i] -= adam->lr * adam->weight_decay * parameter[i];
        else
            g += adam->weight_decay * parameter[i];
        first[i] = adam->beta1 * first[i] + (1 - adam->beta1) * g;
        second[i] = adam->beta2 * second[i] + (1 - adam->beta2) * g * g;
        parameter[i] -= adam->lr * (first[i] / correction1) / (sqrt(second[i] / correction2) + adam->epsilon);
    }
}

double ref_clip_factor(double norm, double max_norm) {
    double factor = max_norm / (norm + 1e-6);
    return factor < 1 ? factor : 1;
}
