"""Lookup: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F

OPERATORS = {
    "embedding": lambda t, a: F.embedding(t[0], t[1], **a),
}
