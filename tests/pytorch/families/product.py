"""Matrix products: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F



def turned(x, flag):
    return x.transpose(-1, -2) if flag else x


OPERATORS = {
    "matmul": lambda t, a: turned(t[0], a.get("transpose_a")) @ turned(t[1], a.get("transpose_b")),
    "linear": lambda t, a: F.linear(t[0], t[1], t[2] if len(t) > 2 else None),
}
