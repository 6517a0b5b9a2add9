"""What float32, float16 and bfloat16 change of codes and folding, against float64.

Symbols: share of all symbols at 33 points of 64 paths that differ from those of the same weights in
float64. Lengths: r2 of the network over that in float64. The model and its inputs are cast; no autocast.

    python -m tests.benchmarks.dtype_codes [--json FILE]
"""

from __future__ import annotations

import argparse
import copy
import json

import numpy as np
import torch
from torch import nn

import foldmon
from foldmon.folding.model.prober import Prober
from foldmon.folding.symbols.activations import Reading
from tests.benchmarks.digits_networks import TRAINED_ON, digits, networks
from tests.benchmarks.precision import table

TYPES = (torch.float32, torch.float16, torch.bfloat16)


def symbols(model: nn.Module, pairs: foldmon.Pairs, points: int = 33) -> np.ndarray:
    """All symbols, as one long vector."""
    prober, seen = Prober(model, pairs), []
    paths = torch.arange(len(pairs)).repeat_interleave(points)
    t = torch.linspace(0, 1, points, dtype=torch.float64).repeat(len(pairs))

    def look(_: int, reading: Reading) -> None:
        seen.append((reading.values > 0).reshape(-1).numpy())

    with prober.active():
        prober.run(paths, t, look)
    return np.concatenate(seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", help="write the rows there too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    inputs, classes = digits()
    pairs = foldmon.draw_pairs((inputs[TRAINED_ON:], classes[TRAINED_ON:]), 64)
    rows = []
    for name, model in networks():
        wide = copy.deepcopy(model).double()
        true, report = symbols(wide, pairs), foldmon.measure(wide, pairs)
        row: dict[str, object] = {"network": name, "phi float64": report.phi}
        for dtype in TYPES:
            narrow = copy.deepcopy(model).to(dtype)
            kind = str(dtype).removeprefix("torch.")
            other = foldmon.measure(narrow, pairs)
            row[f"symbols {kind}"] = float((symbols(narrow, pairs) != true).mean())
            row[f"r2 {kind}"] = float(other.r2.sum() / report.r2.sum())
            row[f"phi {kind}"] = other.phi
        print(json.dumps(row), flush=True)
        rows.append(row)
    print(table(rows))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
