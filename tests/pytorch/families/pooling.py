"""Pooling: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F

OPERATORS = {
    "max_pool2d": lambda t, a: F.max_pool2d(t[0], **a),
    "avg_pool2d": lambda t, a: F.avg_pool2d(t[0], **a),
    "global_avg_pool2d": lambda t, a: F.adaptive_avg_pool2d(t[0], 1),
}
