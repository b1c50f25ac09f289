"""Losses: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F


def classes(function):
    """Of logits, targets and a weight that may be left out."""
    return lambda t, a: function(t[0], t[1], weight=t[2] if len(t) > 2 else None, **a)


def accuracy(t, a):
    best = t[0] == t[0].amax(1, keepdim=True)
    return best.to(t[0].dtype).argmax(1).eq(t[1]).to(t[0].dtype).mean()


def linear_cross_entropy(t, a):
    logits = F.linear(t[0], t[1], t[2]).reshape(-1, t[1].shape[0])
    return F.cross_entropy(logits, t[3].reshape(-1), **a).reshape(t[3].shape if a.get("reduction") == "none" else [])


def binary_cross_entropy_with_logits(t, a):
    """F's own, but in a form that does not cancel: for sure logits F's has few right digits or none."""
    weight, positive = t[2] if len(t) > 2 else None, t[3] if len(t) > 3 else None
    y = t[1] if positive is None else t[1] * positive
    terms = -(y * F.logsigmoid(t[0]) + (1 - t[1]) * F.logsigmoid(-t[0]))
    terms = terms if weight is None else terms * weight
    result = {"none": lambda x: x, "sum": torch.sum, "mean": torch.mean}[a.get("reduction", "mean")](terms)
    own = F.binary_cross_entropy_with_logits(t[0], t[1], weight=weight, pos_weight=positive, **a)
    assert torch.allclose(own, result, atol=1e-5)
    return result


OPERATORS = {
    "cross_entropy": classes(F.cross_entropy),
    "mse_loss": lambda t, a: F.mse_loss(t[0], t[1], **a),
    "l1_loss": lambda t, a: F.l1_loss(t[0], t[1], **a),
    "linear_cross_entropy": linear_cross_entropy,
    "ctc_loss": lambda t, a: F.ctc_loss(*t, **a),
    "nll_loss": classes(F.nll_loss),
    "smooth_l1_loss": lambda t, a: F.smooth_l1_loss(t[0], t[1], **a),
    "huber_loss": lambda t, a: F.huber_loss(t[0], t[1], **a),
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "kl_div": lambda t, a: F.kl_div(*t, **a),
    "hinge_embedding_loss": lambda t, a: F.hinge_embedding_loss(*t, **a),
    "margin_ranking_loss": lambda t, a: F.margin_ranking_loss(*t, **a),
    "cosine_embedding_loss": lambda t, a: F.cosine_embedding_loss(*t, **a),
    "triplet_margin_loss": lambda t, a: F.triplet_margin_loss(*t, **a),
    "accuracy": accuracy,
}
