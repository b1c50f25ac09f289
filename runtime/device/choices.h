/* What was chosen by measuring: a word for each class of work, kept in the device's file from one process to the next.
 * Whoever chooses names the classes and the words; neither has spaces or ends of lines in it. */
#ifndef TUFF_RUNTIME_CHOICES_H
#define TUFF_RUNTIME_CHOICES_H

#include "runtime/device/device.h"

/* Whether classes without a choice are to be measured (tuff_device_desc.tuning). If not, there are no choices, and the
 * file is neither read nor written. */
bool device_tunes(const tuff_device *device);

/* The choice for a class, NULL if there is none yet. It lives until the next choice is made. */
const char *choice_find(tuff_device *device, const char *class);

/* Makes a choice, or another one, for as long as the device is open, and for later where the file can be written. What
 * another process put into the file meanwhile stays there, but for this class. */
tuff_result choice_make(tuff_device *device, const char *class, const char *choice);

/* The environment's TUFF_TUNE for DEFAULT, and without it `standard`. Error: ARGUMENT. */
tuff_result tuning_resolve(tuff_tuning asked, bool standard, bool *tunes);

#endif
