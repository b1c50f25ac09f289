"""Attention."""
import math

import torch


def scaled_dot_product_attention(t, dropout_p=0, is_causal=False, scale=0, enable_gqa=False):
    """The formula: torch 1.13 has no function for it."""
    query, key, value = t[:3]
    mask = t[3] if len(t) > 3 else None
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (x.repeat_interleave(groups, -3) for x in (key, value))
    scores = query @ key.transpose(-2, -1) * (scale or 1 / math.sqrt(query.shape[-1]))
    if mask is not None:
        scores = scores + mask
    if is_causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:]).tril() == 0, -math.inf)
    return torch.softmax(scores, -1) @ value, torch.logsumexp(scores, -1)


OPERATORS = {
    "scaled_dot_product_attention": lambda t, a: scaled_dot_product_attention(t, **a),
}
