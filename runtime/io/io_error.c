/* error_set for tuff_io as a library of its own: it reaches the core's message through the one exported
 * function. Internal tests, which link the core's objects, use the core's error_set instead. */
#include "runtime/error.h"

#include <stdarg.h>
#include <stdio.h>

tuff_result error_set(tuff_result result, const char *format, ...) {
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return tuff_set_last_message(result, text);
}

tuff_result error_out_of_host_memory(size_t bytes) {
    return error_set(TUFF_ERROR_MEMORY, "the host has no memory left: %zu bytes were asked for", bytes);
}
