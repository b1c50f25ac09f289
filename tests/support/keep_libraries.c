/* For builds with sanitizers: libraries stay loaded, so that a leak inside a driver still has its library's name
 * when the process ends, and tests/tools/leaks.supp can tell it from one of ours. */
__attribute__((visibility("default"))) int dlclose(void *handle);

int dlclose(void *handle) {
    (void)handle;
    return 0;
}
