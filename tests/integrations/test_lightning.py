from __future__ import annotations

import logging
from contextlib import nullcontext

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from foldmon.integrations.lightning import FoldingCallback
from foldmon.journal.following import read_journal
from tests.integrations.broken import BrokenMonitor


class Classifier(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, index):
        x, y = batch
        return nn.functional.cross_entropy(self(x), y)

    def validation_step(self, batch, index):
        self.log("val_loss", self.training_step(batch, index))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


@pytest.fixture
def loaders(held_out):
    data = TensorDataset(*held_out)
    return DataLoader(data, batch_size=10, shuffle=True), DataLoader(data, batch_size=20)


def trainer(folder, callback, **options):
    defaults = {"max_epochs": 2, "logger": TensorBoardLogger(folder), "enable_checkpointing": False}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return pl.Trainer(default_root_dir=folder, callbacks=callback, **quiet, **(defaults | options))


def steps_of(monitor):
    return [r["step"] for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]


def test_folding_goes_into_the_trainers_own_tensorboard_run(tmp_path, loaders):
    callback = FoldingCallback(every=4, background=False)
    fit = trainer(tmp_path, callback)
    fit.fit(Classifier(), *loaders)
    events = EventAccumulator(f"{fit.logger.log_dir}/foldmon", size_guidance={"scalars": 0}).Reload()
    assert [e.step for e in events.Scalars("folding/network")] == [0, 4, 8, 12]
    assert fit.global_step == callback.monitor.steps == 12


def test_held_out_inputs_are_the_validation_loaders(tmp_path, loaders, held_out):
    callback = FoldingCallback(pairs=16)
    trainer(tmp_path, callback, num_sanity_val_steps=0).fit(Classifier(), *loaders)
    ends = callback.monitor._subject.pairs.first
    assert all((held_out[0] == row).all(1).any() for row in ends)


def test_steps_are_optimizer_steps_while_gradients_accumulate(tmp_path, loaders):
    callback = FoldingCallback(every=1, background=False)
    fit = trainer(tmp_path, callback, accumulate_grad_batches=3)
    fit.fit(Classifier(), *loaders)
    assert steps_of(callback.monitor) == [0, 1, 2, 3, 4]
    assert fit.global_step == 4


def test_validation_metrics_are_beside_the_folding(tmp_path, loaders):
    callback = FoldingCallback(every=1, background=False)
    trainer(tmp_path, callback).fit(Classifier(), *loaders)
    probes = [r for r in read_journal(callback.monitor.journal_path) if r["kind"] == "probe"]
    assert any("val_loss" in record["logged"] for record in probes)


def test_a_resumed_run_goes_on_at_its_global_step(tmp_path, loaders):
    first = FoldingCallback(every=4, background=False)
    fit = trainer(tmp_path, first)
    fit.fit(Classifier(), *loaders)
    fit.save_checkpoint(tmp_path / "half.ckpt")
    again = FoldingCallback(every=4, background=False)
    trainer(tmp_path, again, max_epochs=4).fit(Classifier(), *loaders, ckpt_path=tmp_path / "half.ckpt")
    # Step 12 was measured at the end of the first run, and may be left to it.
    assert [step for step in steps_of(again.monitor) if step != 12] == [16, 20, 24]


def test_a_resumed_run_on_other_pairs_is_told(tmp_path, loaders, caplog):
    fit = trainer(tmp_path, FoldingCallback())
    fit.fit(Classifier(), *loaders)
    fit.save_checkpoint(tmp_path / "half.ckpt")
    with caplog.at_level(logging.WARNING, "foldmon"):
        other = FoldingCallback(seed=9)
        trainer(tmp_path, other, max_epochs=3).fit(Classifier(), *loaders, ckpt_path=tmp_path / "half.ckpt")
    assert "draws other held-out pairs" in caplog.text


def test_mlflow_logger_gets_the_values_in_its_own_run(tmp_path, loaders):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    logger = MLFlowLogger(tracking_uri=uri)
    trainer(tmp_path, FoldingCallback(every=6, background=False), logger=logger).fit(Classifier(), *loaders)
    history = logger.experiment.get_metric_history(logger.run_id, "folding/network")
    assert [metric.step for metric in history] == [0, 6, 12]


def test_another_logger_leaves_tensorboard_files_in_the_trainers_folder(tmp_path, loaders):
    logger = CSVLogger(tmp_path)
    trainer(tmp_path, FoldingCallback(every=6), logger=logger).fit(Classifier(), *loaders)
    assert list((tmp_path / logger.log_dir).glob("foldmon/events.out.*"))


def test_training_computes_the_same_without_it(tmp_path, loaders):
    weights = []
    for callback in (pl.Callback(), FoldingCallback(every=1)):
        pl.seed_everything(3, verbose=False)
        module = Classifier()
        trainer(tmp_path, callback).fit(module, *loaders)
        weights.append([p.detach().clone() for p in module.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_without_held_out_data_it_says_what_to_do_and_training_goes_on(tmp_path, loaders, caplog):
    fit = trainer(tmp_path, FoldingCallback())
    fit.fit(Classifier(), loaders[0])
    assert fit.global_step == 12
    assert caplog.text.count("FoldingCallback(data=...)") == 1


class Recurrent(Classifier):
    """Nothing of it can be measured."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.LSTM(8, 3)

    def forward(self, x):
        return self.net(x)[0]


def test_a_module_that_cannot_be_measured_trains_on(tmp_path, loaders, caplog):
    callback = FoldingCallback()
    fit = trainer(tmp_path, callback)
    fit.fit(Recurrent(), *loaders)
    assert (fit.global_step, callback.monitor) == (12, None)
    assert caplog.text.count("training goes on") == 1


def test_two_callbacks_in_one_trainer_are_kept_apart_and_the_later_one_watches(tmp_path, loaders, caplog):
    callbacks = [FoldingCallback(layers="net.1"), FoldingCallback(layers="net.3")]
    fit = trainer(tmp_path, callbacks, enable_checkpointing=True)
    fit.fit(Classifier(), *loaders)
    assert fit.global_step == 12
    assert callbacks[1].monitor.report.layers == ("net.3",)
    assert "watched already" in caplog.text
    saved = torch.load(next(tmp_path.rglob("*.ckpt")), weights_only=False)["callbacks"]
    assert sum("FoldingCallback" in key for key in saved) == 2


def test_an_exception_in_training_leaves_all_values_delivered(tmp_path, loaders):
    class Failing(Classifier):
        def training_step(self, batch, index):
            if self.global_step == 6:
                raise RuntimeError("out of luck")
            return super().training_step(batch, index)

    callback = FoldingCallback(every=3, background=False)
    fit = trainer(tmp_path, callback)
    with pytest.raises(RuntimeError, match="out of luck"):
        fit.fit(Failing(), *loaders)
    assert callback.monitor.closed, "an exception may be caught, and the process go on"
    assert read_journal(callback.monitor.journal_path)[-1]["kind"] == "end"
    events = EventAccumulator(f"{fit.logger.log_dir}/foldmon").Reload()
    assert [e.step for e in events.Scalars("folding/network")] == [0, 3, 6]


def test_a_training_that_ends_closes_its_monitor(tmp_path, loaders):
    delivered = []
    callback = FoldingCallback(every=5, exporters=[lambda values, step: delivered.append(step)])
    trainer(tmp_path, callback).fit(Classifier(), *loaders)
    assert callback.monitor.closed
    assert read_journal(callback.monitor.journal_path)[-1]["kind"] == "end"
    assert delivered == steps_of(callback.monitor)
    assert delivered[-1] == 12


@pytest.mark.parametrize("several", [list, lambda loaders: dict(zip("ab", loaders, strict=True))])
def test_of_several_validation_loaders_the_first_is_taken(tmp_path, held_out, several):
    other = DataLoader(TensorDataset(held_out[0] + 100, held_out[1]), batch_size=20)
    first = DataLoader(TensorDataset(*held_out), batch_size=20)

    class Twice(Classifier):
        def validation_step(self, batch, index, dataloader_idx=0):
            pass

    callback = FoldingCallback(pairs=16, every=100, exporters=[])
    trainer(tmp_path, callback, max_epochs=1).fit(Twice(), first, several([first, other]))
    assert callback.monitor._subject.pairs.first.max() < 50


def test_a_state_that_was_loaded_is_kept_until_training_begins():
    callback = FoldingCallback()
    callback.load_state_dict({"step": 3})
    assert callback.state_dict() == {"step": 3}


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_warning_gets_the_training_loss(tmp_path, loaders, held_out, accumulated):
    losses = []

    class Noted(Classifier):
        def training_step(self, batch, index):
            loss = super().training_step(batch, index)
            if self.trainer.training:
                losses.append(loss.item())
            return loss

    callback = FoldingCallback(held_out, every=3, background=False, exporters=[])
    options = {"accumulate_grad_batches": accumulated, "limit_val_batches": 0, "max_epochs": 1}
    trainer(tmp_path, callback, **options).fit(Noted(), loaders[0])
    records = read_journal(callback.monitor.journal_path)
    first, *later = [r["logged"].get("loss") for r in records if r["kind"] == "probe"]
    batches = 3 * accumulated
    assert first is None
    assert later[0] == pytest.approx(sum(losses[:batches]) / batches, rel=1e-5)


def test_a_loader_that_lightning_leaves_be_is_used(tmp_path, loaders):
    class Unvalidated(pl.LightningModule):
        forward, training_step = Classifier.forward, Classifier.training_step
        configure_optimizers = Classifier.configure_optimizers

        def __init__(self):
            super().__init__()
            self.net = Classifier().net

    callback = FoldingCallback(every=6, background=False)
    trainer(tmp_path, callback).fit(Unvalidated(), *loaders)
    assert len(callback.monitor.history) > 1


class ReadsItsTrainer(Classifier):
    def forward(self, x):
        return self.net(x) * (1 + self.trainer.current_epoch)


class ReadsItsEpoch(Classifier):
    def forward(self, x):
        return self.net(x) * (1 + self.current_epoch)


@pytest.mark.parametrize("make", [ReadsItsTrainer, ReadsItsEpoch])
def test_a_module_whose_forward_pass_reads_its_trainer_is_measured_in_place(make, tmp_path, loaders, caplog):
    callback = FoldingCallback(every=4)
    fit = trainer(tmp_path, callback)
    fit.fit(make(), *loaders)
    assert fit.global_step == 12
    assert [report.step for report in callback.monitor.history] == [0, 4, 8, 12]
    assert caplog.text.count("its forward pass uses its Trainer, which a copy does not have") == 1


@pytest.mark.parametrize("fails", [False, True])
def test_no_error_of_the_monitors_reaches_training(tmp_path, loaders, fails):
    class Breaks(pl.Callback):
        def on_train_start(self, trainer, module):
            callback.monitor = broken

    class Failing(Classifier):
        def training_step(self, batch, index):
            if fails and self.global_step == 6:
                raise ValueError("out of luck")
            return super().training_step(batch, index)

    broken, callback = BrokenMonitor(), FoldingCallback(every=100, exporters=[])
    fit = trainer(tmp_path, [callback, Breaks()])
    with pytest.raises(ValueError, match="out of luck") if fails else nullcontext():
        fit.fit(Failing(), *loaders)
    assert fit.global_step == (6 if fails else 12)
    assert {"log", "close"} <= set(broken.asked)
