"""What one rank does under a framework that shards the model; started by torchrun in ``test_sharded.py``."""

from __future__ import annotations

import importlib
import os
import sys
import warnings

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.utils.data import DataLoader, Dataset, TensorDataset

import foldmon
from foldmon.journal.following import read_journal
from tests.sampling.team.worker import network

EVERY, PAIRS = 2, 9


def data(seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(96, 8, generator=generator), torch.arange(96) % 3)


def assert_measured(monitor: foldmon.Monitor, steps: list[int], begin: foldmon.FoldingReport) -> None:
    """The same steps on every rank, what one process measures at the first, and a journal on rank 0 alone."""
    assert [report.step for report in monitor.history] == steps, monitor.journal_path
    first = monitor.history[0]
    for name in ("layers", "units"):
        assert getattr(first, name) == getattr(begin, name)
    for name in ("r1", "r2", "r1_cumulative"):
        np.testing.assert_array_equal(getattr(first, name), getattr(begin, name), err_msg=name)
    assert first.held_out.accuracy is not None
    if dist.get_rank() == 0:
        written = [r["step"] for r in read_journal(monitor.journal_path) if r["kind"] == "probe"]
        assert written == steps, written
    else:
        assert monitor.journal_path == os.devnull, monitor.journal_path


def unsharded(model: nn.Module, held_out) -> foldmon.FoldingReport:
    return foldmon.measure(model, foldmon.draw_pairs(held_out, PAIRS))


# Accelerate and the Trainer: on the CPU they take FSDP for DistributedDataParallel unless told otherwise.


def _fsdp_on_the_cpu() -> None:
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    own = AcceleratorState.__init__

    def initialised(self, *args, fsdp_plugin=None, **kwargs) -> None:
        own(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin

    AcceleratorState.__init__ = initialised
    _wrappers_on_the_cpu()


def _wrappers_on_the_cpu() -> None:
    """FullyShardedDataParallel knows the CPU by its name alone, while frameworks pass it with a number."""
    own = FullyShardedDataParallel.__init__

    def initialised(self, *args, device_id=None, **kwargs) -> None:
        own(self, *args, device_id=torch.device("cpu"), **kwargs)

    FullyShardedDataParallel.__init__ = initialised


def _accelerated(version: int) -> None:
    from accelerate import Accelerator, FullyShardedDataParallelPlugin

    from foldmon.integrations.accelerate import watch_accelerated

    _fsdp_on_the_cpu()
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=version, auto_wrap_policy=ModuleWrapPolicy({nn.Linear}), cpu_ram_efficient_loading=False
    )
    accelerator = Accelerator(cpu=True, fsdp_plugin=plugin)
    net = network()
    model, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.1))
    assert any("FSDP" in cls.__name__ or "FullySharded" in cls.__name__ for cls in type(model).__mro__)
    monitor = watch_accelerated(
        accelerator, model, data(1), every=EVERY, pairs=PAIRS, exporters=[], log_dir=f"accelerate{version}"
    )
    for inputs, labels in DataLoader(data(), batch_size=16):
        accelerator.backward(nn.functional.cross_entropy(model(inputs), labels))
        optimizer.step()
        optimizer.zero_grad()
    monitor.close()
    assert_measured(monitor, [0, 2, 4, 6], unsharded(network(), data(1)))
    accelerator.end_training()


def accelerate1() -> None:
    _accelerated(1)


def accelerate2() -> None:
    _accelerated(2)


class Rows(Dataset):
    """Inputs and labels by name, as the Trainer takes them."""

    def __init__(self, seed: int) -> None:
        self.rows = data(seed)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index):
        x, label = self.rows[index]
        return {"x": x, "labels": label}


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x, labels=None):
        logits = self.net(x)
        return (
            logits
            if labels is None
            else {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}
        )


def _trained(version: int) -> None:
    from transformers import Trainer, TrainingArguments

    from foldmon.integrations.transformers import FoldingTrainerCallback

    _fsdp_on_the_cpu()
    callback = FoldingTrainerCallback(data(1).tensors, every=EVERY, pairs=PAIRS, exporters=[])
    arguments = TrainingArguments(
        output_dir=f"trainer{version}", per_device_train_batch_size=8, max_steps=6, report_to="none",
        save_strategy="no", use_cpu=True, disable_tqdm=True, fsdp="full_shard auto_wrap",
        fsdp_config={"fsdp_version": version, "transformer_layer_cls_to_wrap": ["Linear"],
                     "cpu_ram_efficient_loading": False, "sync_module_states": False},
    )  # fmt: skip
    Trainer(Named(), arguments, train_dataset=Rows(0), callbacks=[callback]).train()
    assert_measured(callback.monitor, [0, 2, 4, 6], unsharded(Named(), data(1).tensors))


def trainer1() -> None:
    _trained(1)


def trainer2() -> None:
    _trained(2)


# Lightning


def _lightning(strategy, configure=None):
    import lightning.pytorch as pl

    from foldmon.integrations.lightning import FoldingCallback

    class Classifier(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.configured = network(), False

        def configure_model(self) -> None:
            if configure is not None and not self.configured:
                self.configured = True
                configure(self.net, self.device_mesh)

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, index):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch, index):
            self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]), sync_dist=True)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    callback = FoldingCallback(data(1), every=EVERY, pairs=PAIRS, exporters=[], background=False)
    pl.Trainer(
        accelerator="cpu", devices=2, strategy=strategy, max_steps=6, logger=False, callbacks=[callback],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=sys.argv[1],
    ).fit(Classifier(), DataLoader(data(), batch_size=8), DataLoader(data(1), batch_size=8))  # fmt: skip
    return callback, Classifier()


def lightning_ddp() -> None:
    callback, alone = _lightning("ddp")
    if dist.get_rank():
        assert callback.monitor is None, "rank 0 has the whole model"
    else:
        assert_measured(callback.monitor, [0, 2, 4, 6], unsharded(alone, data(1)))


def lightning_fsdp2() -> None:
    from lightning.pytorch.strategies import ModelParallelStrategy

    def configure(net, mesh) -> None:
        for module in (*(layer for layer in net if isinstance(layer, nn.Linear)), net):
            fully_shard(module, mesh=mesh["data_parallel"])

    strategy = ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)
    callback, alone = _lightning(strategy, configure)
    assert_measured(callback.monitor, [0, 2, 4, 6], unsharded(alone, data(1)))


def lightning_parallel() -> None:
    from lightning.pytorch.strategies import ModelParallelStrategy

    def configure(net, mesh) -> None:
        parallelize_module(net, mesh["tensor_parallel"], {"0": ColwiseParallel(), "2": RowwiseParallel()})

    strategy = ModelParallelStrategy(data_parallel_size=1, tensor_parallel_size=2)
    callback, alone = _lightning(strategy, configure)
    assert_measured(callback.monitor, [0, 2, 4, 6], unsharded(alone, data(1)))


def lightning_fsdp1() -> None:
    from lightning.pytorch.strategies import FSDPStrategy

    class OnTheCPU(FSDPStrategy):
        """Lightning lets FSDPStrategy itself run on a GPU only."""

    _wrappers_on_the_cpu()
    callback, alone = _lightning(OnTheCPU(auto_wrap_policy={nn.Linear}))
    assert_measured(callback.monitor, [0, 2, 4, 6], unsharded(alone, data(1)))


# DeepSpeed


def lightning_deepspeed() -> None:
    from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy

    backend = importlib.import_module("deepspeed.comm.torch")
    backend.build_shm_op = lambda: None  # it would be compiled, for minutes

    class OnTheCPU(DeepSpeedStrategy):
        """Lightning lets DeepSpeedStrategy itself run on a GPU only."""

        def setup_environment(self) -> None:
            super(DDPStrategy, self).setup_environment()

        def setup_distributed(self) -> None:
            DDPStrategy.setup_distributed(self)

        @property
        def root_device(self) -> torch.device:
            return torch.device("cpu", 0)

    config = {
        "train_micro_batch_size_per_gpu": 8, "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False, "zero_optimization": {"stage": 3},
    }  # fmt: skip
    callback, alone = _lightning(OnTheCPU(config=config))
    assert_measured(callback.monitor, [0, 2, 4, 6], unsharded(alone, data(1)))


def _deepspeed(stage: int) -> None:
    import deepspeed

    net = network()
    engine, *_ = deepspeed.initialize(
        model=net, optimizer=torch.optim.SGD(net.parameters(), lr=0.1), dist_init_required=False,
        config={
            "train_micro_batch_size_per_gpu": 16, "zero_allow_untested_optimizer": True,
            "zero_optimization": {"stage": stage, "stage3_param_persistence_threshold": 0},
            "zero_force_ds_cpu_optimizer": False,
        },
    )  # fmt: skip
    monitor = foldmon.watch(
        engine, data(1), every=EVERY, pairs=PAIRS, exporters=[], log_dir=f"deepspeed{stage}"
    )
    for number, (inputs, labels) in enumerate(DataLoader(data(), batch_size=16), start=1):
        engine.backward(nn.functional.cross_entropy(engine(inputs), labels))
        engine.step()
        monitor.step(number)
    monitor.close()
    assert_measured(monitor, [0, 2, 4, 6], unsharded(network(), data(1)))


def deepspeed1() -> None:
    _deepspeed(1)


def deepspeed2() -> None:
    _deepspeed(2)


def deepspeed3() -> None:
    _deepspeed(3)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    os.environ["ACCELERATE_USE_CPU"] = "true"
    os.environ["DS_ACCELERATOR"] = "cpu"
    torch.set_num_threads(1)
    name = sys.argv[1]
    if name.startswith("deepspeed"):
        dist.init_process_group("gloo")
    globals()[name]()
    print(f"{name} done on rank {os.environ['RANK']}", flush=True)
    if dist.is_initialized():
        dist.destroy_process_group()
