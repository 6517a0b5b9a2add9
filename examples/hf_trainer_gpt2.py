"""Hugging Face Trainer with a small GPT-2 made from a config; nothing is downloaded.

Tokens cannot be interpolated, so the paths are straight lines between embeddings.

    python examples/hf_trainer_gpt2.py
    tensorboard --logdir runs
"""

from __future__ import annotations

import this
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from foldmon.integrations.transformers import FoldingTrainerCallback

TEXT = "".join(this.d.get(letter, letter) for letter in this.s)  # the Zen of Python
LETTERS = sorted(set(TEXT))
LENGTH = 32


class Characters(Dataset[dict[str, Tensor]]):
    """Windows of a text as character numbers."""

    def __init__(self, text: str) -> None:
        numbers = torch.tensor([LETTERS.index(letter) for letter in text])
        self.windows = numbers.unfold(0, LENGTH, 1)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: Any) -> dict[str, Tensor]:
        return {"input_ids": self.windows[index], "labels": self.windows[index]}


torch.manual_seed(0)
cut = int(0.8 * len(TEXT))
held_out = Characters(TEXT[cut:])
model = GPT2LMHeadModel(
    GPT2Config(vocab_size=len(LETTERS), n_positions=LENGTH, n_embd=32, n_layer=2, n_head=2)
)
# A fixed interval, so that a run of seconds shows a curve; without it probes cost 1% of the time.
folding = FoldingTrainerCallback(held_out, every=25, pairs=16, points=17, method="sampled")
trainer = Trainer(
    model,
    TrainingArguments(
        "runs/gpt2", max_steps=100, per_device_train_batch_size=16, learning_rate=3e-3, logging_steps=50,
        save_strategy="no", report_to="tensorboard", use_cpu=True, disable_tqdm=True,
    ),
    train_dataset=Characters(TEXT[:cut]),
    eval_dataset=held_out,
    callbacks=[folding],
)  # fmt: skip
trainer.train()
assert folding.monitor is not None
print(folding.monitor.summary())
