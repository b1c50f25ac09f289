#!/usr/bin/python3
"""Times training steps with `tuff bench train` and with PyTorch, in turn, and prints both rates and their ratio.

    tools/peers/train.py [--network mnist-cnn|resnet18|gpt|lstm] [--tuff build/bin/tuff] [--rounds 5] [--json]

Steps follow one another as in training and are timed by the host's clock, on both sides."""
import time

import networks
import peers
import torch


def main():
    parser = peers.parser(__doc__.splitlines()[0])
    parser.add_argument("--network", choices=networks.NETWORKS, help="one of them (default: all)")
    options = parser.parse_args()
    both = peers.Peers(options)

    def seconds(step):
        """Of one step, the median of some turns of several."""
        def steps(count):
            start = time.perf_counter()
            for _ in range(count):
                step()
            if both.target.type == "cuda":
                torch.cuda.synchronize()
            return (time.perf_counter() - start) / count

        steps(1)
        together = max(2, min(20, int(0.25 / steps(1))))
        return sorted(steps(together) for _ in range(options.runs))[options.runs // 2]

    first = True
    for name in [options.network] if options.network else networks.NETWORKS:
        shape, step = networks.NETWORKS[name](both.target, options.batch, options.small)
        ours, theirs = [], []
        for _ in range(options.rounds):
            theirs.append(seconds(step))
            rows = both.tuff("train", "--network", name)
            if ("train_host", shape) not in rows:
                raise SystemExit(f"the networks differ: PyTorch trains {shape}, Tuff {sorted(s for _, s in rows)}")
            ours.append(rows["train_host", shape]["time"])
        if first:
            both.report_header(rows["train_host", shape]["device"])
        first = False
        both.report({**rows["train_host", shape], "bench": "train"}, ours, theirs)


if __name__ == "__main__":
    main()
