"""What the mnist sample's plain network, saved in MODEL, recognises of the digits in FOLDER, computed with NumPy
and compared with CLAIMED: the sample could be wrong about itself. Exit status 77: no NumPy here.

    mlp_accuracy.py MODEL FOLDER CLAIMED
"""
import os
import sys

try:
    import numpy
except ImportError:
    sys.exit(77)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "io"))
from safetensors_plain import read

model, folder, claimed = sys.argv[1:]
state = read(model)
images = numpy.fromfile(folder + "/t10k-images-idx3-ubyte", numpy.uint8)[16:].reshape(-1, 784)
labels = numpy.fromfile(folder + "/t10k-labels-idx1-ubyte", numpy.uint8)[8:]
x = (images.astype(numpy.float64) / 255 - 0.1307) / 0.3081
for layer in ("fc1", "fc2", "fc3"):
    x = x @ state[layer + ".weight"].astype(numpy.float64).T + state[layer + ".bias"]
    if layer != "fc3":
        x = numpy.maximum(x, 0)
right, said = int((x.argmax(1) == labels).sum()), float(claimed) * len(labels)
print("NumPy recognises %d of %d, the sample says %g" % (right, len(labels), said))
# one digit may lie on the edge between two classes, where float32 and float64 differ
sys.exit(abs(right - said) > 1.01)
