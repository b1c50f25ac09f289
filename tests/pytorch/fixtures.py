#!/usr/bin/python3
"""Computes with PyTorch what the tests compare with: tests/fixtures/*.bin.

Needs Debian's python3-torch and python3-numpy. Run it after a change of tests/operators/cases, of the optimizers'
lines below or of tests/network; it says nothing and takes a minute. The leaves' values are made as in
tests/reference/recipe.c, so no input is stored.

A fixture file, little-endian: "TUFX", u32 version 1, u32 records; each record: u16 length of the key, the key, u32
elements of the tensor, u32 step between stored elements, f64 largest |float32 - float64| of PyTorch's own over the
tensor, f64 relative L2 distance of the two, u32 stored elements, f64 values (float64's).
"""
import os
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

from operators import fill, read_cases, run_case

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures")
KEPT = 96  # elements stored of a tensor


# ---- the file -----------------------------------------------------------------------------------

class Fixtures:
    def __init__(self):
        self.records = []

    def add(self, key, exact, single, kept=KEPT):
        """exact, single: the same tensor from a float64 and a float32 run."""
        exact = np.asarray(exact.detach(), np.float64).ravel()
        single = np.asarray(single.detach(), np.float64).ravel()
        step = max(1, -(-exact.size // kept))
        difference = np.abs(exact - single)
        norm = np.linalg.norm(exact)
        distance = np.linalg.norm(exact - single) / norm if norm > 0 else 0.0
        values = exact[::step]
        self.records.append(struct.pack("<H", len(key)) + key.encode()
                            + struct.pack("<IIddI", exact.size, step, difference.max(), distance, values.size)
                            + values.astype("<f8").tobytes())

    def write(self, name):
        with open(os.path.join(FIXTURES, name), "wb") as file:
            file.write(b"TUFX" + struct.pack("<II", 1, len(self.records)) + b"".join(self.records))


# ---- operators ----------------------------------------------------------------------------------

def operators():
    """One file for each file of cases, so that a change of one family changes one file."""
    for family, cases in read_cases().items():
        fixtures = Fixtures()
        for case in cases:
            (exact, _), (single, _) = run_case(case, torch.float64), run_case(case, torch.float32)
            for name in exact:
                fixtures.add("|".join(case) + "#" + name, exact[name], single[name])
        fixtures.write(f"operators-{family}.bin")


# ---- optimizers: 5 steps on a parameter whose gradients are given --------------------------------

OPTIMIZERS = {  # the names stand in tests/operators/test_optimizers.c
    "sgd": (torch.optim.SGD, dict(lr=0.1)),
    "sgd momentum": (torch.optim.SGD, dict(lr=0.1, momentum=0.9)),
    "sgd dampening": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.01)),
    "sgd nesterov": (torch.optim.SGD, dict(lr=0.1, momentum=0.75, nesterov=True, weight_decay=0.1)),
    "adam": (torch.optim.Adam, dict(lr=0.01)),
    "adam decay": (torch.optim.Adam, dict(lr=0.01, betas=(0.5, 0.75), eps=1e-3, weight_decay=0.1)),
    "adamw": (torch.optim.AdamW, dict(lr=0.01, weight_decay=0.01)),
    "adamw decay": (torch.optim.AdamW, dict(lr=0.05, betas=(0.5, 0.875), weight_decay=0.25)),
}
STEPS = 5


def optimizers():
    fixtures = Fixtures()
    for clip in (0.0, 0.5):
        for name, (kind, options) in OPTIMIZERS.items():
            results = []
            for dtype in (torch.float64, torch.float32):
                tensors = [torch.nn.Parameter(torch.tensor(fill("a", [n], n), dtype=dtype)) for n in (37, 5)]
                optimizer = kind(tensors, **options)
                for step in range(STEPS):
                    for t in tensors:
                        t.grad = torch.tensor(fill("a", [t.numel()], 1000 * t.numel() + step), dtype=dtype)
                    if clip:
                        torch.nn.utils.clip_grad_norm_(tensors, clip)
                    optimizer.step()
                results.append(torch.cat([t.detach() for t in tensors]))
            fixtures.add(name + (" clip" if clip else ""), *results)
    fixtures.write("optimizers.bin")


# ---- the whole network: tests/network/test_network.c ---------------------------------------------

# Where an activation lies within a rounding error of relu's kink, or two of a pooling window of one another, float32
# takes either side, and Adam then moves weights whose gradients are nearly zero by whole steps: the distance jumps from
# 1e-7 to 1e-3. Of five such seeds PyTorch's own float32 jumps that far with one; this is one that stays clear.
SEED = 1000


def network_batch(step, batch, side, classes):
    """Pictures of a class: a fixed pattern and as much noise."""
    label = fill("i", [batch], 9000 + SEED + step, classes).astype(np.int64)
    pattern = fill("a", [classes, side * side], 77)
    noise = fill("a", [batch, side * side], 5000 + SEED + step)
    return (pattern[label] + noise).reshape(batch, 1, side, side), label


def network(steps=20, batch=64, side=28, classes=10):
    half = side // 4
    shapes = {"conv1.weight": [32, 1, 3, 3], "conv1.bias": [32], "conv2.weight": [64, 32, 3, 3], "conv2.bias": [64],
              "fc1.weight": [128, 64 * half * half], "fc1.bias": [128], "fc2.weight": [classes, 128],
              "fc2.bias": [classes]}
    runs = []
    for dtype in (torch.float64, torch.float32):
        p = {}
        for i, (name, shape) in enumerate(shapes.items()):
            fan_in = int(np.prod(shapes[name.replace("bias", "weight")][1:]))
            # a power of two near 1 / sqrt(fan_in), so that float32 holds the weights exactly
            bound = 2.0 ** round(np.log2(1 / np.sqrt(fan_in)))
            p[name] = torch.nn.Parameter(torch.tensor(fill("a", shape, 300 + SEED + i) * bound, dtype=dtype))
        adam = torch.optim.Adam(p.values(), lr=1e-3)
        losses = []
        for step in range(steps):
            image, label = network_batch(step, batch, side, classes)
            x = torch.tensor(image, dtype=dtype)
            x = F.max_pool2d(F.relu(F.conv2d(x, p["conv1.weight"], p["conv1.bias"], padding=1)), 2)
            x = F.max_pool2d(F.relu(F.conv2d(x, p["conv2.weight"], p["conv2.bias"], padding=1)), 2)
            x = F.relu(F.linear(x.flatten(1), p["fc1.weight"], p["fc1.bias"]))
            loss = F.cross_entropy(F.linear(x, p["fc2.weight"], p["fc2.bias"]), torch.tensor(label))
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.detach())
        runs.append((torch.stack(losses), p))
    fixtures = Fixtures()
    fixtures.add("losses", runs[0][0], runs[1][0], kept=steps)
    for name in shapes:
        fixtures.add(name, runs[0][1][name], runs[1][1][name], kept=4096)
    fixtures.write("network.bin")
    if "-v" in sys.argv:
        print(runs[0][0].numpy(), [(n, (runs[0][1][n] - runs[1][1][n].double()).norm().item()
                                    / runs[0][1][n].norm().item()) for n in shapes])


torch.set_num_threads(2)
operators()
optimizers()
network()
