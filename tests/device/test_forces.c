/* The list of forced paths: what each takes, and that everything else is refused with what it wants. */
#include "device_test.h"

#include <string.h>

static const struct {
    const char *force, *message;
} refused[] = {
    { "produkt=tile", "there is no forced path \"produkt\"; there are staging" },
    { "staging,produkt=tile", "\"produkt\"" },
    { "staging=0", "staging takes no value: staging=0" },
    { "split=0", "split takes no value" },
    { "uncached=", "uncached takes no value" },
    { "transfer", "transfer wants none" },
    { "transfer=all", "transfer=all wants none" },
    { "inplace=x", "inplace=x wants none" },
    { "wide=2", "wide=2 wants 0 or 1" },
    { "wide", "wide wants 0 or 1" },
    { "reduce=x", "reduce=x wants group or lane" },
    { "reduce=group|lane", "wants group or lane" },
    { "scatter=", "scatter= wants scan or sort" },
    { "bytes=together", "wants apart" },
    { "pool", "pool wants overlap" },
    { "recurrent=tile", "wants tiled or product" },
    { "ahead=x", "wants none or always" },
    { "texels=1", "texels=1 wants 0" },
    { "attention=rows", "wants row or tile" },
    { "fuse", "fuse wants a value" },
    { "product=", "product wants a value" },
    { "memory=much", "memory=much wants a number from 1 on" },
    { "memory=-1", "memory=-1 wants a number from 1 on" },
    { "memory=9223372036854775808", "wants a number" },
    { "memory=99999999999999999999999", "wants a number" },
    { "block=x", "block=x wants a number from 1 on" },
    { "slice=0", "slice=0 wants a number from 4 on" },
    { "slice=64k", "slice=64k wants a number" },
    { "logits=0", "logits=0 wants a number from 1 on" },
    { "turns=1000", "turns=1000 wants a number from 1024 on" },
    { "turns=4294967296", "wants a number" },
    { "parts=0", "parts=0 wants a number from 1 on" },
    { "parts=0x10", "wants a number" },
    { "parts", "parts= wants a number" },
    { "dispatches=0", "dispatches=0 wants a number from 1 on" },
    { "direct=few", "direct=few wants a number from 0 on" },
    { "winograd=", "winograd= wants a number from 0 on" },
    { "product=row8,product=row16", "product stands twice" },
    { "staging, staging", "staging stands twice" },
};

static void test_refused(void **state) {
    (void)state;
    tuff_device *device;
    for (uint32_t i = 0; i < sizeof refused / sizeof *refused; i++)
        ASSERT_FAILS(tuff_device_open(&(tuff_device_desc){ .force = refused[i].force }, &device), TUFF_ERROR_ARGUMENT,
                     refused[i].message);
}

static void test_values(void **state) {
    (void)state;
    tuff_device *device = test_device_open(
        &(tuff_device_desc){ .force = " staging ,product = tile,, uncached,slice=65536,winograd=0,wide=0,ahead=none" });
    uint64_t number = 7;
    assert_string_equal(device_force(device, "staging"), "1");
    assert_string_equal(device_force(device, "product"), "tile");
    assert_string_equal(device_force(device, "wide"), "0");
    assert_true(device_force_number(device, "slice", &number));
    assert_int_equal(number, 65536);
    assert_true(device_force_number(device, "winograd", &number));
    assert_int_equal(number, 0);
    assert_false(device_force_number(device, "direct", &number));
    assert_null(device_force(device, "stag"));
    assert_false(device_get_limits(device)->direct);
    tuff_device_close(device);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_refused), cmocka_unit_test(test_values) };
    return cmocka_run_group_tests_name("forces", tests, NULL, NULL);
}
