"""Lookup: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F

OPERATORS = {
    "gather": lambda t, a: torch.gather(t[0], a["dim"], t[1]),
    "index_select": lambda t, a: torch.index_select(t[0], a["dim"], t[1]),
    "scatter_add": lambda t, a: torch.scatter_add(t[0], a["dim"], t[1], t[2]),
    "index_add": lambda t, a: torch.index_add(t[0], a["dim"], t[1], t[2], alpha=a.get("alpha", 1)),
    "one_hot": lambda t, a: F.one_hot(t[0], **a).to(torch.get_default_dtype()),
    "embedding": lambda t, a: F.embedding(t[0], t[1], **a),
}
