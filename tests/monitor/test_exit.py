"""A process ends soon and with its own status, whatever probe is under way."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A probe of this model takes far longer than the script.
PROGRAM = """
import sys, torch, foldmon
from torch import nn

def main():
    model = nn.Sequential(
        nn.Conv2d(1, 64, 5, padding=2), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 9, 3, padding=1),
    )
    optimizer = torch.optim.Adam(model.parameters())
    images = torch.randn(200, 1, 85, 85)
    monitor = foldmon.watch(model, images, {options}exporters=[], log_dir={folder!r})
    for row in range(3):
        model(images[4 * row : 4 * row + 4]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    print("over", flush=True)
    {end}
    return model, monitor

{call}
"""


@pytest.mark.parametrize(
    ("options", "end", "call", "status"),
    [
        ("", "pass", "kept = main()", 0),
        pytest.param("", "pass", "main()", 0, marks=pytest.mark.slow),  # the model goes before the process
        pytest.param("every=1, ", "sys.exit(3)", "main()", 3, marks=pytest.mark.slow),
        ("every=1, ", "monitor.close(timeout=1, last=0)", "kept = main()", 0),
    ],
)
def test_a_script_that_ends_while_a_probe_runs(tmp_path, options, end, call, status):
    program = PROGRAM.format(options=options, folder=str(tmp_path), end=end, call=call)
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "over\n"
    began = time.perf_counter()
    _, said = process.communicate(timeout=120)
    assert process.returncode == status, said
    assert "terminate called" not in said
    # Thirty seconds is what it waited for; the last passes may be slow on a busy machine.
    assert time.perf_counter() - began < 20, said
