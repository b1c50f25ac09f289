"""Normalisation: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F



def copy(tensor):
    return None if tensor is None else tensor.detach().clone()


def batch_norm(t, a):
    x, mean, variance, weight, bias = (t + [None] * 4)[:5]
    a = dict(a, training=a.get("training", False) or mean is None)
    return F.batch_norm(x, copy(mean), copy(variance), weight, bias, **a)


def layer_norm(t, a):
    x, weight, bias = (t + [None] * 2)[:3]
    shape = a["normalized_shape"]
    return F.layer_norm(x, shape if isinstance(shape, tuple) else (shape,), weight, bias, a.get("eps", 1e-5))


def rms_norm(t, a):
    """PyTorch 1.13 has none."""
    shape = a["normalized_shape"]
    axes = tuple(range(-len(shape if isinstance(shape, tuple) else (shape,)), 0))
    y = t[0] * torch.rsqrt(t[0].square().mean(axes, keepdim=True) + a.get("eps", 2.0**-23))
    return y * t[1] if len(t) > 1 else y


def group_norm(t, a):
    x, weight, bias = (t + [None] * 2)[:3]
    return F.group_norm(x, a["num_groups"], weight, bias, a.get("eps", 1e-5))


def instance_norm(t, a):
    x, mean, variance, weight, bias = (t + [None] * 4)[:5]
    statistics = a.get("use_input_stats", True)
    if statistics == "training":
        statistics = a.get("training", False)
    return F.instance_norm(x, copy(mean), copy(variance), weight, bias, statistics, 0.1, a.get("eps", 1e-5))


def weight_norm(t, a):
    return torch._weight_norm(t[0], t[1], a.get("dim", 0))


def spectral_norm(t, a):
    """torch.nn.utils.spectral_norm's formula; its class has u and v of its own."""
    weight, u, v = t
    dim = a.get("dim", 0)
    matrix = weight.movedim(dim, 0).flatten(1)
    with torch.no_grad():
        for _ in range(a.get("n_power_iterations", 1) if a.get("training", False) else 0):
            v = F.normalize(matrix.t() @ u, dim=0, eps=1e-12)
            u = F.normalize(matrix @ v, dim=0, eps=1e-12)
    return weight / torch.dot(u, matrix @ v)


OPERATORS = {
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "dropout2d": lambda t, a: F.dropout2d(t[0], training=False, **a),
    "stochastic_depth": lambda t, a: t[0],
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
    "normalize": lambda t, a: F.normalize(t[0], **a),
}
