"""What train.py and operators.py share: running `tuff bench`, timing PyTorch in turn with it, and printing both.

A shared machine's speed drifts, so the two take turns in rounds, and medians of the rounds are compared. Tuff's own lines
say the shapes: what it measures, PyTorch measures."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

try:
    import torch
except ImportError:
    sys.exit("PyTorch is not installed for this Python (Debian: python3-torch, /usr/bin/python3)")


def parser(description):
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--tuff", default="build/bin/tuff", help="the command (default: %(default)s)")
    p.add_argument("--device", help="Tuff's device: index, part of its name, or UUID")
    p.add_argument("--rounds", type=int, default=5, help="turns of each, of which medians count (default: %(default)s)")
    p.add_argument("--runs", type=int, default=3, help="measured runs in each turn (default: %(default)s)")
    p.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch on the CPU (default: all cores)")
    p.add_argument("--cpu", action="store_true", help="PyTorch on the CPU, even if there is CUDA")
    p.add_argument("--batch", type=int, help="another batch than the standard one")
    p.add_argument("--small", action="store_true", help="small sizes: whether it runs, not how fast")
    p.add_argument("--json", action="store_true", help="one object a line, as `tuff bench --json`")
    return p


class Peers:
    def __init__(self, options):
        self.options = options
        self.target = torch.device("cuda" if torch.cuda.is_available() and not options.cpu else "cpu")
        torch.set_num_threads(options.threads)
        torch.manual_seed(1)
        torch.backends.cuda.matmul.allow_tf32 = False  # float32 is compared with float32
        torch.backends.cudnn.allow_tf32 = False
        on = torch.cuda.get_device_name() if self.target.type == "cuda" else f"{options.threads} threads"
        self.name = f"PyTorch {torch.__version__}, {on}"

    def tuff(self, *words):
        """The lines of one `tuff bench`, one for each bench and shape."""
        command = [self.options.tuff, "bench", *words, "--json", "--runs", str(self.options.runs)]
        for name in ("device", "batch"):
            if getattr(self.options, name) is not None:
                command += [f"--{name}", str(getattr(self.options, name))]
        if self.options.small:
            command.append("--small")
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        except OSError as error:
            sys.exit(f"{self.options.tuff}: {error.strerror}. Build it (cmake --build build), or name it with --tuff")
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed")
        return {(row["bench"], row["shape"]): row for row in map(json.loads, done.stdout.splitlines())}

    def seconds(self, run):
        """The median time of run() with PyTorch, on the device's own clock where that is CUDA."""
        times = []
        for i in range(-1, self.options.runs):
            if self.target.type == "cuda":
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                run()
                end.record()
                end.synchronize()
                times.append(begin.elapsed_time(end) * 1e-3)
            else:
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            if i < 0:
                times.clear()
        return statistics.median(times)

    def report(self, row, ours, theirs):
        """ours and theirs: seconds, one for each round; row: any of Tuff's lines."""
        ours, theirs = statistics.median(ours), statistics.median(theirs)
        amount = row["rate"] * row["time"]
        if self.options.json:
            print(json.dumps({"bench": row["bench"], "shape": row["shape"], "device": row["device"], "time": ours,
                              "rate": amount / ours, "unit": row["unit"], "ratio": theirs / ours,
                              "ratio_to": self.name}), flush=True)
        else:
            print(f"{row['bench']:<18} {row['shape']:<44} {amount / ours:10.4g} {amount / theirs:10.4g} "
                  f"{row['unit']:<9} {theirs / ours:7.3f}", flush=True)

    def report_header(self, device):
        if not self.options.json:
            print(f"Tuff on {device}; {self.name}")
            print(f"{'':<18} {'':<44} {'Tuff':>10} {'PyTorch':>10} {'':<9} {'ratio':>7}")
