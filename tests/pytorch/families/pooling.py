"""Pooling and resampling: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F


def interpolate(x, a):
    a = dict(a)
    if a.get("mode", "nearest") in ("linear", "bilinear", "trilinear", "bicubic"):
        a.setdefault("align_corners", False)
    if isinstance(a.get("scale_factor"), int):
        a["scale_factor"] = float(a["scale_factor"])
    if isinstance(a.get("scale_factor"), tuple):
        a["scale_factor"] = tuple(float(s) for s in a["scale_factor"])
    return F.interpolate(x, **a)


OPERATORS = {
    "max_pool1d": lambda t, a: F.max_pool1d(t[0], **a),
    "max_pool2d": lambda t, a: F.max_pool2d(t[0], **a),
    "max_pool3d": lambda t, a: F.max_pool3d(t[0], **a),
    "avg_pool1d": lambda t, a: F.avg_pool1d(t[0], **a),
    "avg_pool2d": lambda t, a: F.avg_pool2d(t[0], **a),
    "avg_pool3d": lambda t, a: F.avg_pool3d(t[0], **a),
    "adaptive_max_pool1d": lambda t, a: F.adaptive_max_pool1d(t[0], **a),
    "adaptive_max_pool2d": lambda t, a: F.adaptive_max_pool2d(t[0], **a),
    "adaptive_max_pool3d": lambda t, a: F.adaptive_max_pool3d(t[0], **a),
    "adaptive_avg_pool1d": lambda t, a: F.adaptive_avg_pool1d(t[0], **a),
    "adaptive_avg_pool2d": lambda t, a: F.adaptive_avg_pool2d(t[0], **a),
    "adaptive_avg_pool3d": lambda t, a: F.adaptive_avg_pool3d(t[0], **a),
    "interpolate": lambda t, a: interpolate(t[0], a),
    "unfold": lambda t, a: F.unfold(t[0], **a),
    "fold": lambda t, a: F.fold(t[0], **a),
    "pixel_shuffle": lambda t, a: F.pixel_shuffle(t[0], **a),
    "pixel_unshuffle": lambda t, a: F.pixel_unshuffle(t[0], **a),
}
