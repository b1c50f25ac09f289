"""Comparisons, logic, choices by masks, conversions."""
import torch

TYPES = {"float32": None, "int32": torch.int32, "uint8": torch.uint8}


def to(t, a):
    dtype = TYPES[a["dtype"]]
    if dtype:
        return t[0].to(dtype)
    return t[0] if t[0].is_floating_point() else t[0].to(torch.float64)


OPERATORS = {
    "where": lambda t, a: torch.where(t[0] != 0, t[1], t[2]),
    "masked_fill": lambda t, a: t[0].masked_fill(t[1] != 0, a["value"]),
    "to": to,
}
for name in ["eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or"]:
    OPERATORS[name] = lambda t, a, f=getattr(torch, name): f(t[0], t[1])
OPERATORS["logical_not"] = lambda t, a: torch.logical_not(t[0])
