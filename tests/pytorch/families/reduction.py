"""Reductions: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F



def dim(t, a):
    axes = a.get("dim", tuple(range(t[0].dim())))
    return axes if isinstance(axes, tuple) else (axes,)


def keepdim(a):
    return a.get("keepdim", False)


def prod(t, a):
    """torch.prod takes one axis at a time."""
    y = t[0]
    for axis in sorted((d % t[0].dim() for d in dim(t, a)), reverse=True):
        y = y.prod(axis, keepdim=keepdim(a))
    return y


def correction(a):
    """PyTorch 1.13 takes an integer alone."""
    return int(a.get("correction", 1))


def extreme(name):
    """Of a tensor, or along an axis with indices."""
    return lambda t, a: getattr(t[0], name)(**a)


def arg(name):
    """PyTorch 1.13 drops keepdim where there is no dim."""
    def run(t, a):
        y = getattr(t[0], name)(a.get("dim"), keepdim=keepdim(a))
        return y.reshape([1] * t[0].dim()) if "dim" not in a and keepdim(a) else y
    return run


OPERATORS = {
    "sum": lambda t, a: t[0].sum(dim(t, a), keepdim=keepdim(a)),
    "mean": lambda t, a: t[0].mean(dim(t, a), keepdim=keepdim(a)),
    "amax": lambda t, a: t[0].amax(dim(t, a), keepdim=keepdim(a)),
    "amin": lambda t, a: t[0].amin(dim(t, a), keepdim=keepdim(a)),
    "prod": prod,
    "var": lambda t, a: t[0].var(dim(t, a), correction=correction(a), keepdim=keepdim(a)),
    "std": lambda t, a: t[0].std(dim(t, a), correction=correction(a), keepdim=keepdim(a)),
    "norm": lambda t, a: torch.linalg.vector_norm(t[0], a.get("p", 2), dim(t, a), keepdim(a)),
    "logsumexp": lambda t, a: t[0].logsumexp(dim(t, a), keepdim=keepdim(a)),
    "max": extreme("max"),
    "min": extreme("min"),
    "argmax": arg("argmax"),
    "argmin": arg("argmin"),
    "topk": lambda t, a: t[0].topk(**a),
    "cumsum": lambda t, a: t[0].cumsum(**a),
    "softmax": lambda t, a: t[0].softmax(a["dim"]),
    "log_softmax": lambda t, a: t[0].log_softmax(a["dim"]),
}
