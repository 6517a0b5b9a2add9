"""Sharded models through the frameworks that shard them, in two processes over gloo.

Each scenario compares the first report with the unsharded model's, number for number, and asserts that all
ranks measure at the same steps and rank 0 alone writes.
"""

from __future__ import annotations

import importlib.util

import pytest
import torch.distributed as dist

from tests.fixtures.processes import assert_done, torchrun

pytestmark = [
    pytest.mark.skipif(not dist.is_available(), reason="this torch has no distributed package"),
    pytest.mark.timeout(600),
]


@pytest.mark.parametrize(
    "scenario",
    [
        "accelerate2",
        *(pytest.param(name, marks=pytest.mark.slow) for name in (
            "accelerate1", "trainer1", "trainer2", "lightning_ddp", "lightning_fsdp1", "lightning_fsdp2",
            "lightning_parallel", "deepspeed1", "deepspeed2", "deepspeed3", "lightning_deepspeed",
        )),
    ],
)  # fmt: skip
def test_all_ranks_measure_what_one_does(scenario):
    if "deepspeed" in scenario and importlib.util.find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is not installed")
    assert_done(torchrun("tests.integrations.sharded.worker", 2, scenario), 2, scenario)
