"""Convolutions: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F

OPERATORS = {
    "conv2d": lambda t, a: F.conv2d(t[0], t[1], t[2] if len(t) > 2 else None, **a),
}
