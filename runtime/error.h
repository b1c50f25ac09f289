/* How a failure travels: a tuff_result up the calls, its sentence in the thread's message. */
#ifndef TUFF_RUNTIME_ERROR_H
#define TUFF_RUNTIME_ERROR_H

#include <tuff/tuff.h>

/* Sets the thread's message and returns result, so that a caller writes `return error_set(...)`. The
 * sentence says what failed, where (operator, tensors, shapes, file, byte) and what to do. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
tuff_result
error_set(tuff_result result, const char *format, ...);

/* The result of the thread's latest failure (for functions that return NULL). */
tuff_result error_last(void);

/* How many failures this thread has had: whether a function of the user's set a message of its own. */
uint64_t error_count(void);

/* Returns TUFF_ERROR_MEMORY with a message for a failed malloc of `bytes`. */
tuff_result error_out_of_host_memory(size_t bytes);

/* `if (failed) return it`, for the common chain of calls. */
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        tuff_result try_result_ = (call);                                                                              \
        if (try_result_ != TUFF_OK) return try_result_;                                                                \
    } while (0)

#endif
