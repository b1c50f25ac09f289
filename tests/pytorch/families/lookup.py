"""Lookup: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F

OPERATORS = {
    "one_hot": lambda t, a: F.one_hot(t[0], **a).to(torch.get_default_dtype()),
    "embedding": lambda t, a: F.embedding(t[0], t[1], **a),
}
