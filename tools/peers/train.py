#!/usr/bin/python3
"""Times one training step of the MNIST network (conv 32, conv 64, dense 128, batch 64, Adam) with PyTorch on the CPU and
with `tuff bench train`, in turn, and prints both rates and their ratio.

    tools/peers/train.py [--tuff build/bin/tuff] [--rounds 5] [--threads 2] [--json]
"""
import argparse
import json
import statistics
import subprocess
import sys
import time

BATCH, STEPS = 64, 5


def pytorch(threads):
    """A function that runs STEPS steps and returns the seconds they took."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))
    adam = torch.optim.Adam(net.parameters())
    loss_of = nn.CrossEntropyLoss()
    images, labels = torch.rand(BATCH, 1, 28, 28), torch.arange(BATCH) % 10

    def step():
        adam.zero_grad()
        loss_of(net(images), labels).backward()
        adam.step()

    def timed():
        start = time.perf_counter()
        for _ in range(STEPS):
            step()
        return time.perf_counter() - start

    timed()
    return timed, torch.__version__


def tuff(command):
    """Images a second of a short run, and the device's name."""
    out = subprocess.run([command, "bench", "train", "--json", "--runs", "3", "--batch", str(BATCH)], check=True,
                         capture_output=True, text=True).stdout
    lines = [json.loads(line) for line in out.splitlines()]
    return next((l["rate"], l["device"]) for l in lines if l["bench"] == "train")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tuff", default="build/bin/tuff")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        timed, version = pytorch(options.threads)
    except ImportError:
        sys.exit("train.py: PyTorch is not installed for this Python (Debian: python3-torch, /usr/bin/python3)")
    ours, theirs = [], []
    for _ in range(options.rounds):  # in turn: a shared machine's speed drifts
        theirs.append(BATCH * STEPS / min(timed() for _ in range(3)))
        rate, device = tuff(options.tuff)
        ours.append(rate)
    mine, peer = statistics.median(ours), statistics.median(theirs)
    if options.json:
        print(json.dumps({"bench": "train", "shape": f"mnist-cnn, batch {BATCH}", "device": device, "rate": mine,
                          "unit": "images/s", "ratio": mine / peer, "ratio_to": f"PyTorch {version}"}))
    else:
        print(f"Tuff on {device}: {mine:.0f} images/s")
        print(f"PyTorch {version}, {options.threads} threads: {peer:.0f} images/s")
        print(f"ratio {mine / peer:.3f}")


if __name__ == "__main__":
    main()
