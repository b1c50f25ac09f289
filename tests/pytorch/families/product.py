"""Matrix products: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F



def turned(x, flag):
    return x.transpose(-1, -2) if flag else x


def equation(a):
    """As it was before it was taken for a list."""
    return a["equation"] if isinstance(a["equation"], str) else ",".join(a["equation"])


OPERATORS = {
    "matmul": lambda t, a: turned(t[0], a.get("transpose_a")) @ turned(t[1], a.get("transpose_b")),
    "outer": lambda t, a: torch.outer(t[0], t[1]),
    "einsum": lambda t, a: torch.einsum(equation(a), *t),
    "linear": lambda t, a: F.linear(t[0], t[1], t[2] if len(t) > 2 else None),
}
