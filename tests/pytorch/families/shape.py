"""Operators that move or repeat elements: each a function of the operands (None: left out) and the attributes."""
import torch
import torch.nn.functional as F

OPERATORS = {
    "reshape": lambda t, a: t[0].reshape(a["shape"]),
    "flatten": lambda t, a: t[0].flatten(**a),
    "unflatten": lambda t, a: t[0].unflatten(a["dim"], a["sizes"]),
    "squeeze": lambda t, a: t[0].squeeze(**a),
    "unsqueeze": lambda t, a: t[0].unsqueeze(**a),
    "permute": lambda t, a: t[0].permute(a["dims"]),
    "expand": lambda t, a: t[0].expand(a["size"]),
    "slice": lambda t, a: torch.ops.aten.slice(t[0], a.get("dim", 0), a.get("start"), a.get("end"), a.get("step", 1)),
    "select": lambda t, a: t[0].select(**a),
    "split": lambda t, a: torch.split(t[0], a["split_size_or_sections"], a.get("dim", 0)),
    "concat": lambda t, a: torch.cat(t, **a),
    "stack": lambda t, a: torch.stack(t, **a),
    "flip": lambda t, a: t[0].flip((a["dims"],) if isinstance(a["dims"], int) else a["dims"]),
    "roll": lambda t, a: torch.roll(t[0], **a),
    "repeat": lambda t, a: t[0].repeat(a["repeats"]),
    "tile": lambda t, a: torch.tile(t[0], (a["dims"],) if isinstance(a["dims"], int) else a["dims"]),
    "tril": lambda t, a: t[0].tril(**a),
    "triu": lambda t, a: t[0].triu(**a),
    "pad": lambda t, a: F.pad(t[0], **a),
    "transpose": lambda t, a: t[0].transpose(a["dim0"], a["dim1"]),
}
