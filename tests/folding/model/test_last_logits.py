"""Causal language models are asked for the logits of the last position alone, where that changes nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import foldmon
from foldmon import Pairs
from foldmon.folding.data.trees import call
from foldmon.folding.model.last_logits import ask_for_last_logits
from foldmon.folding.model.prober import Prober

SMALL = {"vocab_size": 500, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def gpt2() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_embd=16, n_head=2, n_positions=32, **SMALL)
    return transformers.GPT2LMHeadModel(config).eval()


def llama() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        num_hidden_layers=2, hidden_size=16, intermediate_size=32, num_attention_heads=2, **SMALL
    )
    return transformers.LlamaForCausalLM(config).eval()


def positions_of(model: nn.Module, **options: Any) -> set[int]:
    """Number of positions of the logits, in all passes that a probe makes of several inputs."""
    seen: set[int] = set()

    def note(module: nn.Module, args: Any, output: Tensor) -> None:
        if len(output) > 1:
            seen.add(output.shape[1])

    with model.lm_head.register_forward_hook(note):  # type: ignore[union-attr, operator]
        foldmon.measure(model, tokens(), points=5, **options)
    return seen


def tokens() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    torch.manual_seed(0)
    mask = torch.ones(4, 12, dtype=torch.int64)
    mask[1, 9:] = 0
    first, second = torch.randint(3, 500, (2, 4, 12))
    return {"input_ids": first, "attention_mask": mask}, {"input_ids": second, "attention_mask": mask}


@pytest.mark.parametrize("build", [gpt2, llama])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_numbers_are_those_of_all_logits(build: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    model = build().to(dtype)
    last = foldmon.measure(model, tokens(), points=9)
    whole = foldmon.measure(model, tokens(), points=9, forward=call)
    assert last.layers == whole.layers
    np.testing.assert_array_equal(last.r1, whole.r1)
    np.testing.assert_array_equal(last.r2, whole.r2)
    assert last.decision is not None
    assert whole.decision is not None
    np.testing.assert_array_equal(last.decision.ends, whole.decision.ends)
    np.testing.assert_allclose(last.decision.entropy, whole.decision.entropy, atol=1e-4)


@pytest.mark.parametrize("build", [gpt2, llama])
def test_logits_that_nobody_reads_do_not_exist(build: Any) -> None:
    assert positions_of(build()) == {1}


def test_a_way_of_calling_that_the_user_gave_is_kept() -> None:
    assert positions_of(gpt2(), forward=call) == {12}


def test_more_inputs_go_into_a_pass() -> None:
    model, pairs = gpt2(), Pairs(*tokens())
    assert Prober(model, pairs).rows_at_once > Prober(model, pairs, forward=call).rows_at_once


class Causal(nn.Module):
    """A language model whose ``logits_to_keep`` does what ``keeps`` says."""

    def __init__(self, keeps: str) -> None:
        super().__init__()
        self.embed, self.head, self.keeps = nn.Embedding(9, 8), nn.Linear(8, 9), keeps

    def forward(self, ids: Tensor, logits_to_keep: int = 0) -> Any:
        h = torch.relu(self.embed(ids)).cumsum(1)
        if self.keeps == "first" and logits_to_keep:
            h = h[:, :logits_to_keep]
        elif self.keeps != "all":
            h = h[:, -logits_to_keep:]
        if self.keeps == "fails" and logits_to_keep:
            raise NotImplementedError
        z = self.head(h)
        return SimpleNamespace(logits=torch.tanh(z) if self.keeps == "bent" else z)


@pytest.mark.parametrize(
    ("keeps", "asked"), [("last", True), ("all", True), ("first", False), ("fails", False), ("bent", False)]
)
def test_it_is_tried_first(keeps: str, asked: bool) -> None:
    torch.manual_seed(0)
    ids = torch.randint(9, (3, 6))
    with torch.no_grad():
        assert (ask_for_last_logits(Causal(keeps).eval(), ids) is not None) == asked
    report = foldmon.measure(Causal(keeps), (ids, ids.flip(1)), points=5)
    assert dict(zip(report.layers, report.units, strict=True)).get("/tanh", 54) == 54


def test_inputs_that_say_it_themselves_are_left_alone() -> None:
    ids = torch.randint(9, (3, 6))
    assert ask_for_last_logits(Causal("last").eval(), {"ids": ids, "logits_to_keep": 2}) is None
