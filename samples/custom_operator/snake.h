/* An operator of our own: the snake activation, with a trained frequency for each channel. */
#ifndef SAMPLES_SNAKE_H
#define SAMPLES_SNAKE_H

#include <tuff/layers.h>
#include <tuff/operator.h>

typedef struct snake {
    tuff_operator *forward, *backward;
} snake;

/* Both operators, on a device; on failure *snake holds nothing. */
tuff_result snake_create(tuff_device *device, snake *snake);
void snake_destroy(snake *snake);

/* y = x + sin(a x)^2 / a of x (N, C) and a (C). */
tuff_tensor *snake_apply(const snake *snake, tuff_tensor *x, tuff_tensor *a);
/* A layer: a is the parameter NAME.a, which begins at `frequency`. */
tuff_tensor *snake_layer(const snake *snake, tuff_tensor *x, const char *name, float frequency);

#endif
