"""The networks that `tuff bench train` trains (tools/bench/networks.c), in PyTorch. Each function gives the shape as Tuff's
lines tell it, and a function that does one training step."""
import torch
from torch import nn
from torch.nn import functional as F


def step_of(net, optimizer, loss_of):
    def step():
        optimizer.zero_grad()
        loss_of(net).backward()
        optimizer.step()
    return step


def mnist(device, batch, small):
    batch = batch or (2 if small else 64)
    wide = 4 if small else 32
    net = nn.Sequential(
        nn.Conv2d(1, wide, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(wide, 2 * wide, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(98 * wide, 4 * wide), nn.ReLU(), nn.Linear(4 * wide, 10)).to(device)
    x, y = torch.rand(batch, 1, 28, 28, device=device), torch.arange(batch, device=device) % 10
    return f"mnist-cnn, batch {batch}", step_of(net, torch.optim.Adam(net.parameters()),
                                                lambda n: F.cross_entropy(n(x), y))


class Block(nn.Module):
    """The basic block of a residual network (He et al. 2015)."""

    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.projection = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False),
                                        nn.BatchNorm2d(channels)) if stride != 1 else nn.Identity()

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.projection(x))


def resnet18(device, batch, small):
    batch = batch or (2 if small else 64)
    width, side = (4, 8) if small else (16, 32)
    layers, before = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()], width
    for stage in range(4):
        for block in range(2):
            layers.append(Block(before, width << stage, 2 if stage and not block else 1))
            before = width << stage
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10)).to(device)
    x, y = torch.rand(batch, 3, side, side, device=device), torch.arange(batch, device=device) % 10
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2, momentum=0.9)
    return (f"resnet18, width {width}, {side}x{side}, batch {batch}",
            step_of(net, optimizer, lambda n: F.cross_entropy(n(x), y)))


def attend(q, k, v, causal):
    """scaled_dot_product_attention, which PyTorch has from 2.0 on."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if causal:
        mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(mask, float("-inf"))
    return scores.softmax(-1) @ v


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, length, width = x.shape
        q, k, v = (t.view(n, length, self.heads, -1).transpose(1, 2) for t in self.qkv(x).split(width, -1))
        return self.out(attend(q, k, v, True).transpose(1, 2).reshape(n, length, width))


class Residual(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.layers(x)


class Gpt(nn.Module):
    def __init__(self, layers, heads, width, tokens, vocabulary):
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.blocks = nn.Sequential(*(block for _ in range(layers) for block in (
            Residual(nn.LayerNorm(width), Attention(width, heads)),
            Residual(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)))))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False))

    def forward(self, x):
        return self.head(self.blocks(self.token(x) + self.position))


def gpt(device, batch, small):
    batch = batch or (2 if small else 8)
    layers, heads, features, tokens, vocabulary = (1, 2, 8, 16, 256) if small else (6, 6, 64, 256, 256)
    net = Gpt(layers, heads, heads * features, tokens, vocabulary).to(device)
    x, y = (torch.randint(vocabulary, (batch, tokens), device=device) for _ in range(2))
    return (f"gpt, {layers} layers, width {heads * features}, {tokens} tokens, batch {batch}",
            step_of(net, torch.optim.AdamW(net.parameters()),
                    lambda n: F.cross_entropy(n(x).flatten(0, 1), y.flatten())))


class Lstm(nn.Module):
    def __init__(self, hidden, vocabulary):
        super().__init__()
        self.token, self.lstm = nn.Embedding(vocabulary, hidden // 2), nn.LSTM(hidden // 2, hidden, 2)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, x):
        return self.head(self.lstm(self.token(x))[0])


def lstm(device, batch, small):
    batch = batch or (2 if small else 32)
    hidden, steps, vocabulary = (8, 5, 96) if small else (256, 64, 96)
    net = Lstm(hidden, vocabulary).to(device)
    x, y = (torch.randint(vocabulary, (steps, batch), device=device) for _ in range(2))
    return (f"lstm, 2 layers, width {hidden}, {steps} steps, batch {batch}",
            step_of(net, torch.optim.Adam(net.parameters()),
                    lambda n: F.cross_entropy(n(x).flatten(0, 1), y.flatten())))


NETWORKS = {"mnist-cnn": mnist, "resnet18": resnet18, "gpt": gpt, "lstm": lstm}
