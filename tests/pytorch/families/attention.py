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
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    if is_causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:]).tril() == 0, -math.inf)
    return torch.softmax(scores, -1) @ value, torch.logsumexp(scores, -1)


def rotary_embedding(t, base=10000, offset=0, interleaved=False, rotary_dim=0, reverse=False):
    x, positions = t[0], t[1] if len(t) > 1 else torch.arange(t[0].shape[-2])
    rotated = rotary_dim or x.shape[-1]
    # angles in double: in float32 the formula is off by the angle's own rounding, 1e-4 at position 4096
    turn = (positions + offset)[..., None] * base ** (-torch.arange(0, rotated, 2, dtype=torch.float64) / rotated)
    c, s = turn.cos().to(x.dtype), turn.sin().to(x.dtype) * (-1 if reverse else 1)
    part = x[..., :rotated]
    a, b = (part[..., ::2], part[..., 1::2]) if interleaved else part.chunk(2, -1)
    turned = (a * c - b * s, b * c + a * s)
    turned = torch.stack(turned, -1).flatten(-2) if interleaved else torch.cat(turned, -1)
    return torch.cat((turned, x[..., rotated:]), -1)


OPERATORS = {
    "rotary_embedding": lambda t, a: rotary_embedding(t, **a),
    "scaled_dot_product_attention": lambda t, a: scaled_dot_product_attention(t, **a),
}
