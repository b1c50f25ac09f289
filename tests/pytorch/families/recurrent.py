"""Recurrent networks: each a function of the operands (None: left out) and the attributes."""
import torch


def network(kind, states):
    """The functions behind torch.nn's classes, which take the weights in the order of the classes' parameters."""

    def run(t, a):
        a = dict(a)
        nonlinearity = a.pop("nonlinearity", "tanh")
        directions = 2 if a.get("bidirectional") else 1
        layers, bias = a.get("num_layers", 1), a.get("bias", True)
        x, given, weights = t[0], t[1:1 + states], t[1 + states:]
        batched = x.dim() == 3
        if not batched:
            x = x.unsqueeze(1)
            given = [s if s is None else s.unsqueeze(1) for s in given]
        batch_first = a.get("batch_first", False) and batched
        batch = x.shape[0 if batch_first else 1]
        zeros = torch.zeros(layers * directions, batch, weights[1].shape[1], dtype=x.dtype)
        given = [zeros if s is None else s for s in given]
        function = getattr(torch, f"rnn_{nonlinearity}" if kind == "rnn" else kind)
        results = function(x, given if states == 2 else given[0], weights, bias, layers, 0.0, False, directions == 2,
                           batch_first)
        return results if batched else tuple(r.squeeze(1) for r in results)

    return run


OPERATORS = {
    "rnn": network("rnn", 1),
    "gru": network("gru", 1),
    "lstm": network("lstm", 2),
}


def weight_names(kind):
    """As torch.nn's classes name their parameters."""

    def names(a):
        options = {key: a[key] for key in ("num_layers", "bias", "bidirectional") if key in a}
        return [name for name, _ in kind(1, 1, **options).named_parameters()]

    return names


INPUT_NAMES = {"rnn": weight_names(torch.nn.RNN), "gru": weight_names(torch.nn.GRU), "lstm": weight_names(torch.nn.LSTM)}
