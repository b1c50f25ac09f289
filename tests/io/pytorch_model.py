"""Writes a small network of PyTorch's into DIRECTORY: model.safetensors with its weights, and
values.safetensors with an input and what PyTorch computes from it. Exit status 77: no PyTorch here."""
import sys

try:
    import torch
except ImportError:
    sys.exit(77)
from safetensors_plain import write

torch.manual_seed(3)
torch.set_num_threads(1)
net = torch.nn.Sequential()
net.add_module("conv1", torch.nn.Conv2d(2, 5, 3, padding=1, stride=2))
net.add_module("bn1", torch.nn.BatchNorm2d(5))
net.add_module("relu1", torch.nn.ReLU())
net.add_module("conv2", torch.nn.Conv2d(5, 7, (3, 2)))
net.add_module("gelu", torch.nn.GELU())
net.add_module("pool", torch.nn.MaxPool2d(2))
net.add_module("flatten", torch.nn.Flatten())
net.add_module("fc1", torch.nn.Linear(7 * 2 * 3, 11))
net.add_module("tanh", torch.nn.Tanh())
net.add_module("fc2", torch.nn.Linear(11, 3, bias=False))

# a few steps of training give the batch norm running statistics of its own
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
for _ in range(3):
    optimizer.zero_grad()
    (net(torch.randn(6, 2, 13, 15) * 2 + 1) ** 2).mean().backward()
    optimizer.step()
net.eval()
x = torch.randn(4, 2, 13, 15)
with torch.no_grad():
    y = net(x)
directory = sys.argv[1]
# num_batches_tracked (I64) stays in: a file of PyTorch's has it
write(directory + "/model.safetensors", {k: v.numpy() for k, v in net.state_dict().items()})
write(directory + "/values.safetensors", {"x": x.numpy(), "y": y.numpy()})
