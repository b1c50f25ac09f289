"""Reductions: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F



def dim(t, a):
    return a.get("dim", tuple(range(t[0].dim())))


OPERATORS = {
    "sum": lambda t, a: t[0].sum(dim(t, a), keepdim=a.get("keepdim", False)),
    "mean": lambda t, a: t[0].mean(dim(t, a), keepdim=a.get("keepdim", False)),
    "max": lambda t, a: t[0].amax(dim(t, a), keepdim=a.get("keepdim", False)),
    "softmax": lambda t, a: t[0].softmax(a["dim"]),
    "log_softmax": lambda t, a: t[0].log_softmax(a["dim"]),
}
