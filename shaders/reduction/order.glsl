// Floats in an order of unsigned integers, with NaN above everything: comparisons that no driver can get wrong.
#define NOTHING 0xffffffffu // also the index of what is no element

uint order_of(uint bits) {
    if ((bits & 0x7fffffffu) > 0x7f800000u) return NOTHING;
    return (bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u;
}

uint bits_of(uint order) {
    return (order & 0x80000000u) != 0u ? order ^ 0x80000000u : ~order;
}
