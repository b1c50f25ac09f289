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
    "hardsigmoid": lambda t, a: F.relu6(t[0] + 3) / 6,  # F.hardsigmoid has 1/6 in float32 for float64, too
    "clamp": lambda t, a: torch.clamp(t[0], a.get("min"), a.get("max")),
    "pow_scalar": lambda t, a: torch.pow(t[0], a["exponent"]),
    "dropout": lambda t, a: F.dropout(t[0], **a, training=False),
}
for name in ["neg", "abs", "square", "exp", "log", "sqrt", "rsqrt", "relu", "sigmoid", "tanh", "erf", "sign", "floor",
             "expm1", "log1p", "reciprocal", "sin", "cos"]:
    OPERATORS[name] = lambda t, a, f=getattr(torch, name): f(t[0])
for name in ["maximum", "minimum", "pow"]:
    OPERATORS[name] = lambda t, a, f=getattr(torch, name): f(t[0], t[1])
for name in ["relu6", "elu", "selu", "softplus", "mish", "hardswish", "logsigmoid"]:
    OPERATORS[name] = lambda t, a, f=getattr(F, name): f(t[0], **a)
