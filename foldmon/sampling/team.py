"""Probes shared out over the processes that train one model.

DistributedDataParallel: every rank measures its share of the pairs on its own replica of the weights.
FSDP2 (``fully_shard``): all ranks run equally many forward passes, each on its share. Either way a probe is
synchronous, at the same training step on all ranks; distances are gathered through a gloo group of
foldmon's own, so that training's collectives are not disturbed, and the first rank exports.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch.distributed as dist
from torch import Tensor, nn

from foldmon.folding.data.pairs import Pairs
from foldmon.folding.data.trees import map_tensors
from foldmon.folding.model.prober import Prober
from foldmon.folding.model.unwrap import wrappers
from foldmon.folding.results.report import FoldingReport
from foldmon.folding.results.statistics import Ints
from foldmon.folding.sampled import WalkedPaths, report_of_samples, walk
from foldmon.folding.undisturbed.buffers import exchanged_buffers

T = TypeVar("T")

TIMEOUT = timedelta(minutes=5)
"""How long a rank waits for the others, from one step to the same step elsewhere."""


class TeamError(RuntimeError):
    """Other ranks do not answer: nothing can be measured together any more."""


class Team:
    """The processes that train one model together.

    Made, and used, at the same point of the program on every rank.

    Args:
        ranks: global ranks of the processes.
        sharded: whether a forward pass needs all of them (FSDP2).

    Attributes:
        is_first: whether this process exports.

    Raises:
        TeamError: not every rank calls ``foldmon.watch``.
    """

    def __init__(self, ranks: Sequence[int], sharded: bool) -> None:
        self.ranks, self.sharded = list(ranks), sharded
        self.is_first = dist.get_rank() == self.ranks[0]
        self._group: Any = None
        self._lost: str | None = None
        with self._answered("foldmon.watch must be called on every rank"):
            self._group = dist.new_group(
                self.ranks,
                timeout=TIMEOUT,
                backend="gloo",
                use_local_synchronization=len(self.ranks) < dist.get_world_size(),
            )

    def from_first(self, make: Callable[[], T]) -> T:
        """What ``make`` returns on the first rank, on every rank; it is called there only.

        Raises:
            Exception: what ``make`` raises; a ValueError with its text on the other ranks.
        """
        box: list[Any] = [None, None]
        failure: Exception | None = None
        if self.is_first:
            try:
                box[0] = make()
            except Exception as error:
                failure, box[1] = error, f"{type(error).__name__}: {error}"
        with self._answered():
            dist.broadcast_object_list(box, src=self.ranks[0], group=self._group)
        if failure is not None:
            raise failure
        if box[1] is not None:
            raise ValueError(f"on rank {self.ranks[0]}: {box[1]}")
        made: T = box[0]
        return made

    def same_pairs(self, draw: Callable[[], Pairs]) -> Pairs:
        """The pairs that the first rank draws."""

        def drawn() -> Pairs:
            pairs = draw()
            if self.sharded and len(pairs) % len(self.ranks):
                raise ValueError(
                    f"{len(pairs)} pairs cannot be shared out evenly over {len(self.ranks)} ranks, as "
                    "sharded models need; pass a multiple as pairs="
                )
            first, second = (map_tensors(lambda t: t.cpu(), end) for end in (pairs.first, pairs.second))
            return Pairs(first, second, pairs.classes, pairs.class_names, pairs.kind)

        return self.from_first(drawn)

    def measure(
        self, prober: Callable[[], Prober], model: nn.Module, points: int, paths: Ints | None
    ) -> FoldingReport:
        """Sampled folding as :func:`foldmon.measure` gives it, every rank walking its share of the paths.

        Args:
            prober: makes this rank's prober, which runs the model once or more.
            model: that all ranks train.
            points: n, points a path.
            paths: places of the pairs to measure, the same on all ranks; None for all.

        Raises:
            TeamError: a rank does not answer within ``TIMEOUT``.
            RuntimeError: measuring failed on some rank; every rank raises.
        """
        part: WalkedPaths | None = None
        failure: Exception | None = None
        try:
            with resharded(model), exchanged_buffers(model, self._buffers_of_first):
                own = prober()
                with own.active():
                    every = np.arange(len(own.pairs)) if paths is None else paths
                    part = walk(own, every[self._share(len(every))], points)
        except Exception as error:
            failure = error
        parts = self._gather(part, failure)
        return report_of_samples(own, WalkedPaths.joined(parts), paths)

    def _buffers_of_first(self, own: Sequence[Tensor]) -> Sequence[Tensor]:
        """Running statistics differ until they are synchronized."""
        return self.from_first(lambda: [buffer.cpu() for buffer in own])

    def whole(self, pairs: int) -> int:
        """So many pairs, and as many more as all ranks need to run equally many passes."""
        size = len(self.ranks)
        return -(-pairs // size) * size if self.sharded else pairs

    def _share(self, paths: int) -> slice:
        place, size = self.ranks.index(dist.get_rank()), len(self.ranks)
        return slice(place * paths // size, (place + 1) * paths // size)

    def _gather(self, part: WalkedPaths | None, failure: Exception | None) -> list[WalkedPaths]:
        text = None if failure is None else f"{type(failure).__name__}: {failure}"
        gathered: list[Any] = [None] * len(self.ranks)
        with self._answered():
            dist.all_gather_object(gathered, (part, text), group=self._group)
        for rank, (_, other) in zip(self.ranks, gathered, strict=True):
            if other is not None:
                raise RuntimeError(f"measuring failed on rank {rank}: {other}") from failure
        return [found for found, _ in gathered]

    def close(self) -> None:
        """Give the group back."""
        # It is gone where the user has ended all communication before.
        if self._lost is None and dist.is_initialized():
            with contextlib.suppress(ValueError, RuntimeError):
                dist.destroy_process_group(self._group)

    @contextmanager
    def _answered(self, advice: str = "another rank has ended, or is at another step") -> Iterator[None]:
        if self._lost is not None:
            # Waiting once is enough.
            raise TeamError(self._lost)
        try:
            yield
        except RuntimeError as error:
            self._lost = f"the ranks {self.ranks} do not all answer: {advice} ({error})"
            raise TeamError(self._lost) from error


def team_of(model: nn.Module) -> Team | None:
    """The processes that train this model together; None where this one trains it alone.

    A plain module in a distributed run is this process's own: pass the DistributedDataParallel wrapper (or
    the ``fully_shard``-ed module) on every rank to measure together.

    Raises:
        ValueError: a model whose layers are spread over ranks in a way that is not covered.
    """
    if not dist.is_available() or not dist.is_initialized():
        return None
    for module in wrappers(model):
        if type(module).__name__ == "DistributedDataParallel":
            group: Any = module.process_group
            return Team(dist.get_process_group_ranks(group), sharded=False)
    meshes = [p.device_mesh for p in model.parameters() if hasattr(p, "device_mesh")]
    if not meshes:
        return None
    if not _is_fully_sharded(model) or any(_shards(p) > 1 for p in model.parameters()):
        raise ValueError(
            "the model is tensor-parallel: the units of a layer are spread over ranks, which foldmon does "
            "not cover; it covers DistributedDataParallel and FSDP2 (fully_shard)"
        )
    return Team(meshes[0].mesh.flatten().tolist(), sharded=True)


def _is_fully_sharded(model: nn.Module) -> bool:
    return any(_is_fsdp(module) for module in model.modules())


def _is_fsdp(module: nn.Module) -> bool:
    # By name: where the class lives has changed from one torch version to the next.
    return any(cls.__name__ == "FSDPModule" for cls in type(module).__mro__)


def _shards(parameter: Any) -> int:
    return sum(placement.is_shard() for placement in getattr(parameter, "placements", ()))


@contextmanager
def resharded(model: nn.Module) -> Iterator[None]:
    """Leave an FSDP2 model sharded: its root keeps the gathered weights after a forward pass."""
    try:
        yield
    finally:
        for module in model.modules():
            if _is_fsdp(module):
                module.reshard()  # type: ignore[operator]
