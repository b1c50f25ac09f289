"""Convolutions: each a function of the operands (None: left out) and the attributes."""
import warnings

import torch.nn.functional as F

warnings.filterwarnings("ignore", "Using padding='same'")  # of a copy that PyTorch makes


def applied(function):
    return lambda t, a: function(t[0], t[1], t[2] if len(t) > 2 else None, **a)


OPERATORS = {
    "conv1d": applied(F.conv1d),
    "conv2d": applied(F.conv2d),
    "conv3d": applied(F.conv3d),
    "conv_transpose1d": applied(F.conv_transpose1d),
    "conv_transpose2d": applied(F.conv_transpose2d),
    "conv_transpose3d": applied(F.conv_transpose3d),
}
