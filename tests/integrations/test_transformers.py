from __future__ import annotations

import json
import os

import mlflow
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from foldmon.integrations.transformers import FoldingTrainerCallback, _as_the_trainer_reads
from foldmon.journal.following import read_journal
from tests.integrations.broken import BrokenMonitor


class Tokens(Dataset):
    """Counting modulo 17 from random starts."""

    def __init__(self, size: int, seed: int) -> None:
        starts = torch.randint(0, 17, (size, 1), generator=torch.Generator().manual_seed(seed))
        self.rows = (starts + torch.arange(12)) % 17

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index):
        return {"input_ids": self.rows[index], "labels": self.rows[index]}


def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=17, n_positions=12, n_embd=16, n_layer=2, n_head=2))


def trainer(folder, callback, model=None, **options):
    defaults = {
        "output_dir": str(folder), "per_device_train_batch_size": 8, "max_steps": 6, "report_to": "none",
        "save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "logging_steps": 3,
    }  # fmt: skip
    return Trainer(
        model or gpt2(), TrainingArguments(**(defaults | options)), train_dataset=Tokens(64, 0),
        eval_dataset=Tokens(32, 1), callbacks=[callback],
    )  # fmt: skip


def probes(monitor):
    return [record for record in read_journal(monitor.journal_path) if record["kind"] == "probe"]


def test_report_to_tensorboard_goes_beside_the_trainers_own_events(tmp_path):
    callback = FoldingTrainerCallback(Tokens(32, 1), every=3, pairs=8, points=5, background=False)
    trainer(tmp_path, callback, report_to="tensorboard").train()
    (run,) = (tmp_path / "runs").iterdir()
    assert list(run.glob("events.out.*")), "the Trainer's own"
    events = EventAccumulator(str(run / "foldmon")).Reload()
    assert [e.step for e in events.Scalars("folding/network")] == [0, 3, 6]


def test_report_to_mlflow_goes_into_the_trainers_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    callback = FoldingTrainerCallback(Tokens(32, 1), every=3, pairs=8, points=5, background=False)
    trainer(tmp_path, callback, report_to="mlflow").train()
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"])
    assert "loss" in run.data.metrics, "the Trainer's own"
    history = client.get_metric_history(run.info.run_id, "folding/network")
    assert [m.step for m in history] == [0, 3, 6]


def test_report_to_none_keeps_the_journal(tmp_path):
    callback = FoldingTrainerCallback(Tokens(32, 1), every=3, pairs=8, points=5, background=False)
    trainer(tmp_path, callback).train()
    assert [record["step"] for record in probes(callback.monitor)] == [0, 3, 6]
    assert not list(tmp_path.rglob("events.out.*"))


def test_a_resumed_run_goes_on_at_its_global_step(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 4}
    first = FoldingTrainerCallback(Tokens(32, 1), every=2, pairs=8, points=5, background=False)
    trainer(tmp_path, first, **options).train()
    state = json.loads((tmp_path / "checkpoint-4" / "foldmon.json").read_text())
    assert state["step"] == 4
    again = FoldingTrainerCallback(Tokens(32, 1), every=2, pairs=8, points=5, background=False)
    trainer(tmp_path, again, **options, max_steps=8).train(
        resume_from_checkpoint=str(tmp_path / "checkpoint-4")
    )
    steps = [record["step"] for record in probes(again.monitor)][len("0246") :]
    # Step 4 was measured by the first run, and may be left to it.
    assert [step for step in steps if step != 4] == [6, 8]


def test_without_data_it_begins_with_the_first_evaluation(tmp_path):
    callback = FoldingTrainerCallback(every=1, pairs=8, points=5, background=False)
    trainer(tmp_path, callback, eval_strategy="steps", eval_steps=3).train()
    records = probes(callback.monitor)
    assert [record["step"] for record in records] == [3, 4, 5, 6]
    assert "eval_loss" in records[1]["logged"]


@pytest.mark.parametrize(("data", "steps"), [(Tokens(32, 1), [0, 6]), (None, [3, 6])])
def test_two_trainings_in_a_row_are_both_watched(tmp_path, data, steps):
    callback = FoldingTrainerCallback(
        data, every=3 if data is None else 6, pairs=8, points=5, background=False
    )
    both = trainer(tmp_path, callback, eval_strategy="steps", eval_steps=3)
    both.train()
    assert callback.monitor.closed
    assert read_journal(callback.monitor.journal_path)[-1]["kind"] == "end"
    both.train()
    assert [record["step"] for record in probes(callback.monitor)] == steps + steps


def test_only_the_worlds_first_rank_watches_a_model_that_each_has_whole(tmp_path):
    for rank in (1, 0):
        callback = FoldingTrainerCallback(Tokens(32, 1), pairs=8, points=5, log_dir=tmp_path, exporters=[])
        arguments = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
        state = TrainerState(is_world_process_zero=rank == 0)
        callback.on_train_begin(arguments, state, TrainerControl(), model=gpt2(), train_dataloader=None)
        assert (callback.monitor is None) == (rank == 1)


def test_of_a_sharded_model_all_ranks_measure_and_the_first_one_exports(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("foldmon.integrations.transformers.watched_here", lambda wrapped, *_: wrapped)
    monkeypatch.setattr("foldmon.integrations.transformers.watch", lambda *_, **given: asked.append(given))
    for rank in (0, 1):
        callback = FoldingTrainerCallback(Tokens(32, 1))
        arguments = TrainingArguments(str(tmp_path), report_to="tensorboard", use_cpu=True)
        state = TrainerState(is_world_process_zero=rank == 0)
        callback.on_train_begin(arguments, state, TrainerControl(), model=gpt2(), train_dataloader=None)
    first, second = (options["exporters"] for options in asked)
    assert [getattr(exporter, "name", exporter) for exporter in first] == ["console", "tensorboard"]
    assert second == []


def test_the_trainers_own_run_folder_is_the_latest(tmp_path):
    (tmp_path / "runs" / "Nov27_earlier").mkdir(parents=True)
    os.utime(tmp_path / "runs" / "Nov27_earlier", (1, 1))
    callback = FoldingTrainerCallback(Tokens(32, 1), every=6, pairs=8, points=5, background=False)
    trainer(tmp_path, callback, report_to="tensorboard").train()
    assert not list((tmp_path / "runs" / "Nov27_earlier").iterdir())


@pytest.mark.parametrize("accumulation", [1, 2])
def test_steps_are_the_trainers_global_step(tmp_path, accumulation):
    callback = FoldingTrainerCallback(Tokens(32, 1), every=1, pairs=8, points=5, background=False)
    trainer(tmp_path, callback, gradient_accumulation_steps=accumulation).train()
    assert callback.monitor.steps == 6


def test_the_warning_gets_the_training_loss_that_the_trainer_reports(tmp_path):
    options = {"every": 1, "pairs": 8, "points": 5, "background": False, "exporters": []}
    callback = FoldingTrainerCallback(Tokens(32, 1), **options)
    trained = trainer(tmp_path, callback)
    trained.train()
    reported = [entry["loss"] for entry in trained.state.log_history if "loss" in entry]
    logged = [record["logged"]["loss"] for record in probes(callback.monitor) if "loss" in record["logged"]]
    assert len(reported) == 2
    assert logged == reported[: len(logged)]
    assert logged


class Recurrent(nn.Module):
    """Nothing of it can be measured."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm, self.out = nn.Embedding(17, 8), nn.LSTM(8, 8), nn.Linear(8, 17)

    def forward(self, input_ids, labels=None):
        logits = self.out(self.lstm(self.embed(input_ids))[0])
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}


@pytest.mark.parametrize("data", [None, Tokens(32, 1), 3])
def test_what_cannot_be_measured_is_said_once_and_training_goes_on(tmp_path, caplog, data):
    callback = FoldingTrainerCallback(data)
    trained = trainer(tmp_path, callback, model=Recurrent(), eval_strategy="steps", eval_steps=2)
    trained.train()
    assert trained.state.global_step == 6
    assert caplog.text.count("training goes on") == 1


class Rows:
    """Like a Hugging Face data set: items by number, each a dict of plain lists, with a column for people."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int):
        tokens = [(index + place) % 17 for place in range(5 + index % 4)]
        return {"input_ids": tokens, "attention_mask": [1] * len(tokens), "label": index % 3, "text": "words"}


def pad(items):
    longest = max(len(item["input_ids"]) for item in items)
    assert all(set(item) <= {"input_ids", "attention_mask", "label"} for item in items)
    columns = {
        name: torch.tensor([item[name] + [0] * (longest - len(item[name])) for item in items])
        for name in ("input_ids", "attention_mask")
    }
    return columns | {"labels": torch.tensor([item["label"] for item in items])}


@pytest.mark.parametrize("workers", [0, 1])
def test_items_are_joined_by_the_trainers_collator_without_columns_that_the_model_does_not_take(
    tmp_path, workers
):
    config = GPT2Config(
        vocab_size=17, n_positions=12, n_embd=16, n_layer=1, n_head=2, num_labels=3, pad_token_id=0
    )
    callback = FoldingTrainerCallback(Rows(40), every=2, pairs=8, points=5, background=False, exporters=[])
    arguments = TrainingArguments(
        str(tmp_path), max_steps=4, report_to="none", save_strategy="no", use_cpu=True, disable_tqdm=True,
        dataloader_num_workers=workers,
    )  # fmt: skip
    Trainer(
        GPT2ForSequenceClassification(config), arguments, train_dataset=Rows(64), data_collator=pad,
        callbacks=[callback],
    ).train()  # fmt: skip
    assert [record["step"] for record in probes(callback.monitor)] == [0, 2, 4]
    assert callback.monitor.report.held_out.accuracy is not None
    (understood,) = (note for note in callback.monitor.coverage.notes if note.startswith("inputs: "))
    assert "input_ids: int64 (40, 8)" in understood
    assert "3 classes from labels" in understood


def test_of_several_evaluation_sets_the_first_is_read(tmp_path):
    callback = FoldingTrainerCallback({"one": Tokens(32, 1), "other": Tokens(16, 2)}, every=2, exporters=[])
    trainer(tmp_path, callback).train()
    (understood,) = (note for note in callback.monitor.coverage.notes if note.startswith("inputs: "))
    assert "int64 (32, " in understood


@pytest.mark.parametrize("removes", [True, False])
def test_columns_are_left_out_also_where_the_trainer_has_taken_them_from_its_own_data_set(tmp_path, removes):
    """Of a data set of the library ``datasets`` the collator is not shown what to leave out."""
    arguments = TrainingArguments(
        str(tmp_path), report_to="none", use_cpu=True, remove_unused_columns=removes,
        per_device_eval_batch_size=3,
    )  # fmt: skip
    loader = _as_the_trainer_reads(Rows(8), arguments, gpt2(), DataLoader(Rows(4), collate_fn=list))
    items = next(iter(loader))
    assert len(items) == 3
    taken = {"input_ids", "attention_mask", "label"}
    assert set(items[0]) == (taken if removes else taken | {"text"})


def test_no_error_of_the_monitors_reaches_the_trainer(tmp_path):
    class Breaks(TrainerCallback):
        def on_train_begin(self, *_, **given):
            callback.monitor = broken

    broken = BrokenMonitor()
    callback = FoldingTrainerCallback(Tokens(32, 1), pairs=8, points=5, exporters=[])
    trained = trainer(
        tmp_path, callback, eval_strategy="steps", eval_steps=3, save_strategy="steps", save_steps=3
    )
    trained.add_callback(Breaks())
    trained.train()
    assert trained.state.global_step == 6
    assert {"step", "log", "state_dict", "close"} <= set(broken.asked)
