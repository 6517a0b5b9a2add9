"""Who trains a model together, and how it is spread over them: read off the model, without asking anyone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.distributed as dist
from torch import nn

from foldmon.folding.model.unwrap import wrappers
from foldmon.folding.results.statistics import Ints
from foldmon.sampling.living import living
from foldmon.torch_internals import class_of_pipeline_stages, is_part_of_dtensor, ranks_of_fsdp

_STAGES = ("PipelineStage", "_PipelineStageBase", "PipelineModule", "PipelineEngine", "Pipe")


@dataclass(frozen=True)
class Layout:
    """How the processes that train one model share it.

    Attributes:
        ranks: global ranks of all of them, those that share layers side by side; alike on each of them.
        units: those that hold this process's layers together, each some of the units (tensor and sequence
            parallel): they run on the same inputs. This process alone where it has whole layers.
        lockstep: whether a forward pass needs others, so that all run equally many.

    Example:
        >>> layout = Layout(ranks=(0, 1, 2, 3), units=(2, 3), lockstep=True)
        >>> layout.places, layout.place_of(2), layout.place_of(1)
        (2, 1, 0)
    """

    ranks: tuple[int, ...]
    units: tuple[int, ...]
    lockstep: bool

    @property
    def places(self) -> int:
        """On how many different inputs they can run at a time."""
        return len(self.ranks) // len(self.units)

    def place_of(self, rank: int) -> int:
        """Which of these a rank runs on."""
        return self.ranks.index(rank) // len(self.units)

    def shares(self, rows: Ints) -> list[list[Ints]]:
        """Rows shared out, round by round: in each round some for every place.

        In lockstep each round is of equally many rows everywhere, but that a place may have none in the last
        one: it runs on any row then, for the others' sake.

        Example:
            >>> import numpy as np
            >>> layout = Layout(ranks=(0, 1), units=(0,), lockstep=True)
            >>> [[share.tolist() for share in one] for one in layout.shares(np.arange(5))]
            [[[0, 1], [2, 3]], [[4], []]]
        """
        if not self.lockstep:
            return [np.array_split(rows, self.places)]
        even = len(rows) - len(rows) % self.places
        rounds = [np.split(rows[:even], self.places)] if even else []
        if even < len(rows):
            rest = rows[even:]
            rounds.append([rest[place : place + 1] for place in range(self.places)])
        return rounds


def layout_of(model: nn.Module) -> Layout | None:
    """How this model is shared; None where this process trains it alone.

    A plain module in a distributed run is this process's own: pass the DistributedDataParallel wrapper (or
    the sharded module) on every rank to measure together.

    Raises:
        ValueError: a model that is spread over ranks in a way that is not covered.
    """
    if not dist.is_available() or not dist.is_initialized():
        return None
    own = dist.get_rank()
    units, sharded = _tensor_parallel(model), _sharded(model)
    replicated = _replicated(model)
    if sharded is None and replicated is None:
        return None if units is None else Layout(units, units, lockstep=True)
    ranks = sharded or replicated or ()
    if replicated is not None and (units is not None or _is_made_whole(model)):
        raise ValueError(
            "the model is tensor-parallel inside DistributedDataParallel, whose buckets do not take parts of "
            "weights, and which foldmon does not cover; use fully_shard on the mesh's other dimension, or "
            "measure checkpoints with foldmon.measure"
        )
    return Layout(ranks, units or (own,), lockstep=sharded is not None or units is not None)


def refuse_stages(model: Any) -> None:
    """Say at once that one stage of a pipeline cannot be measured.

    Raises:
        ValueError: ``model`` is one, or is what one runs.
    """
    names = {cls.__name__ for cls in type(model).__mro__}
    if names.intersection(_STAGES) or _is_run_by_a_stage(model):
        raise ValueError(
            "the model is a stage of a pipeline: it takes what the stage before it puts out, and no rank can "
            "run the whole of it, so foldmon does not measure it; measure checkpoints with foldmon.measure"
        )


def _is_run_by_a_stage(model: Any) -> bool:
    base = class_of_pipeline_stages()
    # A stage keeps the module as it is and leaves no mark on it.
    return base is not None and any(getattr(stage, "submod", None) is model for stage in living(base))


def _replicated(model: nn.Module) -> tuple[int, ...] | None:
    """Ranks that each hold the whole of it: DistributedDataParallel, and DeepSpeed below ZeRO 3."""
    for module in wrappers(model):
        kind = type(module).__name__
        if kind == "DistributedDataParallel":
            group: Any = module.process_group
            return tuple(dist.get_process_group_ranks(group))
        if kind == "DeepSpeedEngine":
            return tuple(dist.get_process_group_ranks(module.data_parallel_group))  # type: ignore[arg-type]
    return None


def _sharded(model: nn.Module) -> tuple[int, ...] | None:
    """Ranks that gather each other's weights in a forward pass: FSDP of both versions and ZeRO 3."""
    for parameter in model.parameters():
        group: Any = getattr(parameter, "ds_process_group", None)
        if group is not None:
            return tuple(dist.get_process_group_ranks(group))
    for module in model.modules():
        if is_fsdp1(module):
            return ranks_of_fsdp(module)
        if is_fsdp2(module):
            meshes = [p.device_mesh for p in module.parameters() if hasattr(p, "device_mesh")]
            if meshes:
                return tuple(max(meshes, key=lambda mesh: mesh.ndim).mesh.flatten().tolist())
    return None


def _tensor_parallel(model: nn.Module) -> tuple[int, ...] | None:
    """Ranks that share the units of a layer of this process's; None where it has whole layers."""
    spread: dict[int, None] = {}
    fsdp = any(is_fsdp2(module) for module in model.modules())
    only_replicates = any(_has_base(module, "ReplicateModule") for module in model.modules())
    for parameter in model.parameters():
        mesh: Any = getattr(parameter, "device_mesh", None)
        if mesh is None:
            continue
        placements: Sequence[Any] = parameter.placements  # type: ignore[attr-defined]
        # FSDP2 puts its own dimensions first: one that shards, one that replicates, or both.
        both = placements[0].is_replicate() and len(placements) > 1 and not only_replicates
        data = (2 if both else 1) if fsdp else 0
        if mesh.ndim > data:
            at = tuple(mesh.get_coordinate()[:data])
            spread.update(dict.fromkeys(mesh.mesh[at].flatten().tolist()))
    return tuple(spread) if len(spread) > 1 else None


def _is_made_whole(model: nn.Module) -> bool:
    """Whether tensor parallel weights were exchanged for their parts before they were wrapped."""
    return any(is_part_of_dtensor(parameter) for parameter in model.parameters())


def is_fsdp2(module: nn.Module) -> bool:
    """Whether ``fully_shard`` was applied to the module, or ``replicate``, which is made of it."""
    return _has_base(module, "FSDPModule")


def is_fsdp1(module: nn.Module) -> bool:
    """Whether the module is a FullyShardedDataParallel wrapper."""
    return _has_base(module, "FullyShardedDataParallel")


def _has_base(module: nn.Module, name: str) -> bool:
    # By name: where such classes live has changed from one torch version to the next.
    return any(cls.__name__ == name for cls in type(module).__mro__)
