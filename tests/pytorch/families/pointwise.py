"""Pointwise operators: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F

OPERATORS = {
    "add": lambda t, a: t[0] + t[1],
    "sub": lambda t, a: t[0] - t[1],
    "mul": lambda t, a: t[0] * t[1],
    "div": lambda t, a: t[0] / t[1],
    "scale": lambda t, a: t[0] * a["factor"] + a["offset"],
    "leaky_relu": lambda t, a: F.leaky_relu(t[0], **a),
    "gelu": lambda t, a: F.gelu(t[0], **a),
    "silu": lambda t, a: F.silu(t[0]),
    "dropout": lambda t, a: F.dropout(t[0], **a, training=False),
}
for name in ["neg", "abs", "square", "exp", "log", "sqrt", "rsqrt", "relu", "sigmoid", "tanh", "erf", "sign"]:
    OPERATORS[name] = lambda t, a, f=getattr(torch, name): f(t[0])
