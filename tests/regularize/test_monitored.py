"""The regularizer beside the monitor."""

import torch
from torch import nn

import foldmon
from foldmon.journal.following import read_journal


def test_the_values_stand_beside_the_measured_folding(mlp, held_out):
    inputs, labels = held_out
    optimizer = torch.optim.SGD(mlp.parameters(), lr=0.1)
    reg = foldmon.FoldingRegularizer(mlp, 0.3).attach()
    with foldmon.watch(mlp, held_out, every=1000, exporters=[], optimizer=optimizer) as monitor:
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(mlp(inputs), labels).backward()
            optimizer.step()
            monitor.log(**{f"regularizer/{name}": value for name, value in reg.values.items()})
        monitor.probe()
    # What was logged goes into the next record that is written, which may be the first probe's.
    probes = [record for record in read_journal(monitor.journal_path) if record["kind"] == "probe"]
    logged = {name: value for record in probes for name, value in record["logged"].items()}
    assert logged == {f"regularizer/{name}": value for name, value in reg.values.items()}
    # Neither the extra passes nor the monitor's own count as steps of the other.
    assert monitor.steps == reg.step == 3
