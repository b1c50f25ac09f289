"""The table of cases (tests/operators/cases) as PyTorch runs it: operands, attributes, results, gradients.

What PyTorch's function for each operator is stands in families/, a file for each file of cases.
"""
import importlib
import os
import re

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))


# ---- the hashes and fills of tests/reference/recipe.c ------------------------------------------

def hash32(a, b):
    x = (np.uint64(a) * np.uint64(0x9E3779B1) & np.uint64(0xFFFFFFFF)) ^ np.asarray(b, np.uint64)
    x = (x ^ x >> np.uint64(16)) * np.uint64(0x7FEB352D) & np.uint64(0xFFFFFFFF)
    x = (x ^ x >> np.uint64(15)) * np.uint64(0x846CA68B) & np.uint64(0xFFFFFFFF)
    return x ^ x >> np.uint64(16)


def text_seed(text):
    h = 2166136261
    for c in text.encode():
        h = (h ^ c) * 16777619 & 0xFFFFFFFF
    return h


def fill(kind, shape, seed, count=0):
    n = int(np.prod(shape, dtype=np.int64))
    i = np.arange(n, dtype=np.uint64)
    seed = int(seed)
    k = (i + np.uint64(seed & 0xFFFF)) & np.uint64(0xFFFF)
    k = k * np.uint64(0x9E3B) & np.uint64(0xFFFF)
    k ^= k >> np.uint64(7)
    k = k * np.uint64(0x2C1B) & np.uint64(0xFFFF)
    k ^= k >> np.uint64(9)
    k = k * np.uint64(seed >> 16 | 1) & np.uint64(0xFFFF)
    k ^= k >> np.uint64(8)
    v = (2.0 * k.astype(np.float64) - 65535) / 65536
    h = hash32(seed, i)
    if kind == "i":
        v = (h % np.uint64(count)).astype(np.float64)
    elif kind == "p":
        v = 0.25 + (v + 1) * 0.875
    elif kind == "n":
        v = (0.25 + (v + 1) * 0.875) * np.where(h & np.uint64(1), 1.0, -1.0)
    elif kind == "t":
        v = (h % np.uint64(5)).astype(np.float64) / 2 - 1
    elif kind == "l":
        v = v * 60
    elif kind == "w":
        v = np.ldexp(v, (h % np.uint64(33)).astype(np.int64) - 26)
    elif kind == "s":
        v = 8 + v
    elif kind == "m":
        v = 10000 + np.floor(v * 2048) / 1024
    elif kind == "u":
        v = (v + 1) / 2
    elif kind in "bk":
        v = (h & np.uint64(1)).astype(np.float64)
    elif kind == "y":
        v = (h & np.uint64(255)).astype(np.float64)
    return v.reshape(shape)


# ---- cases --------------------------------------------------------------------------------------

def read_cases():
    """{family: [(operator, operands, attributes)]}"""
    folder = os.path.join(HERE, "../operators/cases")
    cases = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name)) as file:
            found = re.findall(r'^CASE\((\w+),\s+"(.*?)",\s+"(.*?)"\)', file.read(), re.M)
        if found:
            cases[name.removesuffix(".def")] = found
    return cases


def value(text):
    """An attribute's: a number, a tuple of them, a truth value or a word ("none", too)."""
    words = {"true": True, "false": False}
    if text in words:
        return words[text]
    if "," in text:
        return tuple(value(part) for part in text.split(","))
    for kind in (int, lambda t: float(np.float32(t))):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def attributes(text):
    return {key: value(v) for key, _, v in (word.partition("=") for word in text.split())}


def operands(case):
    """[(values, kind, whether its gradient is not asked for)], None for one that is left out."""
    seed, found = text_seed("|".join(case)), []
    for i, word in enumerate(case[1].split()):
        constant = word.endswith("!")
        shape, _, kind = word.removesuffix("!").partition(":")
        if shape == "_":
            found.append(None)
            continue
        shape = [] if shape == "-" else [int(s) for s in shape.split("x")]
        kind, below = (kind[0], int(kind[1:] or 0)) if kind else ("a", 0)
        found.append((fill(kind, shape, hash32(seed, i), below), kind, constant))
    return found


def weights(case, shape):
    """What the result is weighted with before it is summed to a loss."""
    return fill("a", list(shape), hash32(text_seed("|".join(case)), 200))


def family_of(name):
    for file in sorted(os.listdir(os.path.join(HERE, "families"))):
        if file.endswith(".py"):
            family = importlib.import_module("families." + file.removesuffix(".py"))
            if name in family.OPERATORS:
                return family
    raise KeyError(f"tests/pytorch/families has no operator {name}")


def function(name):
    return family_of(name).OPERATORS[name]


def input_names_of(case):
    """The names of the many last inputs of an operator, where they are no plain numbers; else None."""
    names = getattr(family_of(case[0]), "INPUT_NAMES", {}).get(case[0])
    return names and names(attributes(case[2]))


def run_case(case, dtype):
    """{"output": tensor, "grad x0": ...}, the result and the gradients of its weighted sum; whether there are several."""
    tensors = []
    for operand in operands(case):
        if operand is None:
            tensors.append(None)
            continue
        values, kind, constant = operand
        integer = {"i": torch.int64, "k": torch.bool, "y": torch.uint8}.get(kind)
        tensor = torch.tensor(values, dtype=integer or dtype)
        tensors.append(tensor if integer or constant or kind == "b" else tensor.requires_grad_())
    arguments = attributes(case[2])
    take = arguments.pop("take", 0)
    y = function(case[0])(tensors, arguments)
    several = isinstance(y, (tuple, list)) and len(y) > 1
    if isinstance(y, (tuple, list)):
        y = y[take]
    results = {"output": y}
    if y.requires_grad:
        (y * torch.tensor(weights(case, y.shape), dtype=dtype)).sum().backward()
        for i, tensor in enumerate(tensors):
            if tensor is not None and tensor.requires_grad:
                results[f"grad x{i}"] = tensor.grad if tensor.grad is not None else torch.zeros_like(tensor)
    return {name: tensor.detach() for name, tensor in results.items()}, several
