/* The thread's latest failure and the names of results. */
#include "runtime/error.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char message[2048];
static _Thread_local tuff_result latest = TUFF_OK;
static _Thread_local uint64_t count;

tuff_result error_set(tuff_result result, const char *format, ...) {
    /* the arguments may point into the message itself: an outer sentence around an inner one */
    char text[sizeof message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return tuff_fail(result, text);
}

tuff_result tuff_fail(tuff_result result, const char *text) {
    snprintf(message, sizeof message, "%s", text);
    latest = result;
    count++;
    return result;
}

tuff_result error_last(void) {
    return latest;
}

uint64_t error_count(void) {
    return count;
}

tuff_result error_out_of_host_memory(size_t bytes) {
    return error_set(TUFF_ERROR_MEMORY, "the host has no memory left: %zu bytes were asked for", bytes);
}

const char *tuff_last_message(void) {
    return message;
}

const char *tuff_result_name(tuff_result result) {
    switch (result) {
    case TUFF_OK: return "TUFF_OK";
    case TUFF_ERROR_ARGUMENT: return "TUFF_ERROR_ARGUMENT";
    case TUFF_ERROR_SHAPE: return "TUFF_ERROR_SHAPE";
    case TUFF_ERROR_STATE: return "TUFF_ERROR_STATE";
    case TUFF_ERROR_MEMORY: return "TUFF_ERROR_MEMORY";
    case TUFF_ERROR_NO_DRIVER: return "TUFF_ERROR_NO_DRIVER";
    case TUFF_ERROR_NO_DEVICE: return "TUFF_ERROR_NO_DEVICE";
    case TUFF_ERROR_DEVICE: return "TUFF_ERROR_DEVICE";
    case TUFF_ERROR_DEVICE_LOST: return "TUFF_ERROR_DEVICE_LOST";
    case TUFF_ERROR_FILE: return "TUFF_ERROR_FILE";
    case TUFF_ERROR_UNSUPPORTED: return "TUFF_ERROR_UNSUPPORTED";
    }
    return "TUFF_ERROR_?";
}

#define TEXT(x)         #x
#define DOTTED(a, b, c) TEXT(a) "." TEXT(b) "." TEXT(c)

const char *tuff_version(void) {
    return DOTTED(TUFF_VERSION_MAJOR, TUFF_VERSION_MINOR, TUFF_VERSION_PATCH);
}
