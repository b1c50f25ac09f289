"""Operators that move or repeat elements: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F

OPERATORS = {
    "reshape": lambda t, a: t[0].reshape(a["shape"]),
    "flatten": lambda t, a: t[0].flatten(1),
    "transpose": lambda t, a: t[0].transpose(a["dim0"], a["dim1"]),
}
