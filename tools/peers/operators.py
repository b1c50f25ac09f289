#!/usr/bin/python3
"""Times single operators with `tuff bench` and with PyTorch, in turn, and prints both rates and their ratio.

    tools/peers/operators.py [matmul] [conv2d] [attention] [pointwise] [reduce] [norm] [optimizer] [--tuff build/bin/tuff]

A backward pass is timed without the forward pass, but attention_training, which is both. Times are the devices' own where
they have clocks: Tuff's by timestamps, PyTorch's by CUDA's events, or the host's clock where it runs on the CPU."""
import re

import networks
import peers
import torch
from torch.nn import functional as F

BENCHES = ["matmul", "conv2d", "attention", "pointwise", "reduce", "norm", "optimizer"]


def sizes_of(text):
    return [int(n) for n in text.split("x")]


def gradient(function, *inputs):
    """The backward pass alone: the graph is kept."""
    inputs = [x.requires_grad_() for x in inputs]
    y = function(*inputs)
    gy = torch.rand_like(y)
    return lambda: torch.autograd.grad(y, inputs, gy, retain_graph=True)


def matmul(shape, rand):
    m, n, k = sizes_of(shape)
    a, b = rand(m, k), rand(k, n)
    return lambda: a @ b


def conv2d(bench, shape, rand):
    found = re.fullmatch(r"([\dx]+) to (\d+), (\d+)x\d+(?:, padding (\d+))?", shape)
    images, out, kernel = sizes_of(found[1]), int(found[2]), int(found[3])
    padding = int(found[4]) if found[4] else kernel // 2
    x, w = rand(*images), rand(out, images[1], kernel, kernel)
    y = F.conv2d(x, w, padding=padding)
    if bench == "conv2d_grad_input":
        return lambda: torch.nn.grad.conv2d_input(x.shape, w, y, padding=padding)
    if bench == "conv2d_grad_weight":
        return lambda: torch.nn.grad.conv2d_weight(x, w.shape, y, padding=padding)
    return lambda: F.conv2d(x, w, padding=padding)


def attention(bench, shape, rand):
    text, *causal = shape.split()
    q, k, v, gy = (rand(*sizes_of(text)) for _ in range(4))
    if bench == "attention":
        return lambda: networks.attend(q, k, v, bool(causal))
    inputs = [t.requires_grad_() for t in (q, k, v)]
    return lambda: torch.autograd.grad(networks.attend(*inputs, bool(causal)), inputs, gy)


def chain(x, row, rand):
    bias, scale, residual = rand(row), rand(row), rand(*x.shape)
    return lambda: torch.relu((x + bias) * scale) + residual


def step(optimizer, x, **options):
    x.requires_grad_().grad = torch.ones_like(x)
    return optimizer([x], lr=1e-3, **options).step


def memory(name, x, rand):
    """By the name in front of the sizes in a line's shape."""
    row = x.shape[-1]
    channels = x.shape[1]
    makers = {
        "add": lambda: (lambda y: lambda: x + y)(rand(*x.shape)),
        "relu": lambda: lambda: torch.relu(x),
        "gelu": lambda: lambda: F.gelu(x),
        "gelu backward": lambda: gradient(F.gelu, x),
        "bias, scale, relu, residual": lambda: chain(x, row, rand),
        "sum": lambda: lambda: x.sum(),
        "sum of rows": lambda: lambda: x.sum(-1),
        "sum of columns": lambda: lambda: x.sum(0),
        "sum of channels": lambda: lambda: x.sum((0, 2, 3)),
        "amax of rows": lambda: lambda: x.amax(-1),
        "layer_norm": lambda: (lambda w, b: lambda: F.layer_norm(x, (row,), w, b))(rand(row), rand(row)),
        "layer_norm backward": lambda: gradient(lambda t, w, b: F.layer_norm(t, (row,), w, b), x, rand(row), rand(row)),
        "batch_norm training": lambda: (lambda m, v, w, b: lambda: F.batch_norm(x, m, v, w, b, True))(
            *(rand(channels) for _ in range(4))),
        "batch_norm backward": lambda: (lambda m, v: gradient(
            lambda t, w, b: F.batch_norm(t, m, v, w, b, True), x, rand(channels), rand(channels)))(
                rand(channels), rand(channels)),
        "softmax": lambda: lambda: F.softmax(x, -1),
        "softmax backward": lambda: gradient(lambda t: F.softmax(t, -1), x),
        "sgd": lambda: step(torch.optim.SGD, x),
        "sgd momentum": lambda: step(torch.optim.SGD, x, momentum=0.9),
        "adam": lambda: step(torch.optim.Adam, x),
        "adamw": lambda: step(torch.optim.AdamW, x),
    }
    return makers[name]()


def operation(bench, shape, rand):
    """What PyTorch does for a line of Tuff's."""
    if bench == "matmul":
        return matmul(shape, rand)
    if bench.startswith("conv2d"):
        return conv2d(bench, shape, rand)
    if bench.startswith("attention"):
        return attention(bench, shape, rand)
    name, text = shape.rsplit(" ", 1)
    return memory(name, rand(*sizes_of(text)), rand)


def main():
    parser = peers.parser(__doc__.splitlines()[0])
    parser.add_argument("bench", nargs="*", help=f"of {', '.join(BENCHES)} (default: all)")
    parser.add_argument("--shape", help="in place of the standard list, as of tuff bench")
    options = parser.parse_args()
    if set(options.bench) - set(BENCHES):
        parser.error(f"there is no {', '.join(set(options.bench) - set(BENCHES))}; choose from {', '.join(BENCHES)}")
    both = peers.Peers(options)

    def rand(*shape):
        return torch.rand(*shape, device=both.target)

    header = True
    for bench in options.bench or BENCHES:
        ours, theirs = {}, {}
        for _ in range(options.rounds):
            rows = both.tuff(bench, *(["--shape", options.shape] if options.shape else []))
            rows = {key: row for key, row in rows.items() if row["bench"] != "peak"}
            for key, row in rows.items():
                ours.setdefault(key, []).append(row["time"])
                theirs.setdefault(key, []).append(both.seconds(operation(*key, rand)))
        for key, row in rows.items():
            if header:
                both.report_header(row["device"])
            header = False
            both.report(row, ours[key], theirs[key])


if __name__ == "__main__":
    main()
