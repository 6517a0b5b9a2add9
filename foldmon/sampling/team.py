"""The processes that train one model, measuring it together.

They meet through the run's store and talk through a gloo group of foldmon's own, so training's collectives
are not disturbed. A probe is synchronous, at the same training step on all of them; one that does not come
within some seconds costs the others that probe, and no more.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn

from foldmon.folding.data.labels import HeldOut
from foldmon.folding.data.pairs import Pairs
from foldmon.folding.data.trees import map_tensors
from foldmon.sampling.layout import Layout, is_fsdp1, is_fsdp2, layout_of
from foldmon.sampling.rendezvous import Rendezvous
from foldmon.torch_internals import default_store, reshard_fsdp

T = TypeVar("T")

TIMEOUT = timedelta(minutes=5)
"""Longest wait for ranks that have met: the first one reads the held-out data meanwhile."""
JOIN = 10.0, 60.0
"""Seconds that a rank waits for the others to call ``foldmon.watch``, at least and at most.

In between it gives them as long again as it took itself from importing foldmon to calling it: ranks that load
a large model are apart by as much.
"""
PATIENCE = 5.0
"""Seconds that a rank waits for the others before a probe."""
_SLOWER = 3.0  # and after its own part: so many times the seconds that this took
_GIVEN_UP = 3  # meetings in a row that failed, after which nobody waits any more

logger = logging.getLogger("foldmon")

_imported = time.monotonic()
_teams: Counter[tuple[int, ...]] = Counter()


class TeamError(RuntimeError):
    """Other ranks do not answer: nothing can be measured together any more."""


class LateError(RuntimeError):
    """Another rank was not there in time: this probe is left out, on all ranks."""


class Team:
    """The processes that train one model together.

    Made, and used, at the same point of the program on every rank.

    Args:
        layout: who they are, and how they share the model.

    Attributes:
        is_first: whether this process exports.
        met: whether all ranks came to the latest meeting, the same on all of them.

    Raises:
        TeamError: not every rank calls ``foldmon.watch``.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.ranks, self.rank = list(layout.ranks), dist.get_rank()
        self.is_first = self.rank == self.ranks[0]
        self.met = True
        self._group: Any = None
        self._lost: str | None = None
        self._missed = 0
        # All ranks count their teams alike, and so find each other.
        number = _teams[layout.ranks] = _teams[layout.ranks] + 1
        name = f"foldmon/{'-'.join(map(str, layout.ranks))}/{number}"
        self._place = Rendezvous(
            dist.distributed_c10d.PrefixStore(name, default_store()), self.rank, self.ranks
        )
        with self._answered(self._how_to_call):
            self._join()
            self._group = dist.new_group(
                self.ranks,
                timeout=TIMEOUT,
                backend="gloo",
                use_local_synchronization=len(self.ranks) < dist.get_world_size(),
            )

    @property
    def _how_to_call(self) -> str:
        alone = (
            "" if self.layout.lockstep else ", or on one of them with the model inside the wrapper (.module)"
        )
        return f"foldmon.watch must be called on every rank{alone}"

    def _join(self) -> None:
        least, most = JOIN
        patience = min(max(time.monotonic() - _imported, least), most)

        def tell(missing: list[int]) -> None:
            logger.warning(
                "foldmon: waiting, for %.0f s at most, for the ranks %s: %s",
                patience,
                missing,
                self._how_to_call,
            )

        if not self._place.meet(patience, tell):
            missing = self._place.absent
            late = "this rank came after the others had stopped waiting"
            raise RuntimeError(f"after {patience:.0f} s the ranks {missing} had not" if missing else late)

    def meet(self, seconds: float = 0.0) -> None:
        """Wait a little for all ranks.

        Args:
            seconds: that this rank has worked since the last meeting; others may need more.

        Raises:
            LateError: not all came in time.
            TeamError: some will not come any more.
        """
        with self._answered():
            self.met = self._place.meet(max(PATIENCE, _SLOWER * seconds))
        self._missed = 0 if self.met else self._missed + 1
        if self.met:
            return
        if self._place.left or self._missed >= _GIVEN_UP:
            who = self._place.left or self._place.absent
            self._lost = f"the ranks {self.ranks} do not all answer: {who} have left, or are at other steps"
            raise TeamError(self._lost)
        absent = self._place.absent
        late = f"the ranks {absent} were" if absent else "this rank was"
        raise LateError(f"{late} not there in time")

    def agree(self, wish: bool) -> bool:
        """The first rank's wish, on all ranks; False where they do not all ask within some seconds."""
        if self._lost is not None or not dist.is_initialized():
            return False
        try:
            self.meet()
        except (LateError, TeamError):
            return False
        return self.from_first(lambda: wish)

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

    def same_panel(self, draw: Callable[[], tuple[Pairs, HeldOut | None]]) -> tuple[Pairs, HeldOut | None]:
        """The pairs and the followed inputs that the first rank draws."""

        def drawn() -> tuple[Pairs, HeldOut | None]:
            pairs, held_out = draw()
            first, second = (map_tensors(Tensor.cpu, end) for end in (pairs.first, pairs.second))
            if held_out is not None:
                held_out = replace(held_out, inputs=map_tensors(Tensor.cpu, held_out.inputs))
            return Pairs(first, second, pairs.classes, pairs.class_names, pairs.kind), held_out

        return self.from_first(drawn)

    def gather(self, part: T, failure: Exception | None = None) -> list[T]:
        """What each rank has, in the order of ``ranks``.

        Raises:
            RuntimeError: one of them failed; every rank raises.
        """
        text = None if failure is None else f"{type(failure).__name__}: {failure}"
        gathered: list[Any] = [None] * len(self.ranks)
        with self._answered():
            dist.all_gather_object(gathered, (part, text), group=self._group)
        for rank, (_, other) in zip(self.ranks, gathered, strict=True):
            if other is not None:
                raise RuntimeError(f"measuring failed on rank {rank}: {other}") from failure
        return [found for found, _ in gathered]

    def unite(self, bits: npt.NDArray[np.uint8]) -> None:
        """Set, on all ranks, the bits that any of them has set: each sends about twice their number."""
        with self._answered():
            dist.all_reduce(torch.from_numpy(bits), op=dist.ReduceOp.BOR, group=self._group)

    def work(self, own: Callable[[], T]) -> list[T]:
        """What each rank makes, once all of them have made it; those that met before meet again.

        Raises:
            LateError, TeamError: a rank does not come.
            RuntimeError: one of them failed; every rank raises.
        """
        part: Any = None
        failure: Exception | None = None
        began = time.perf_counter()
        try:
            part = own()
        except Exception as error:
            failure = error
        self.meet(time.perf_counter() - began)
        return self.gather(part, failure)

    def buffers(self, own: Sequence[Tensor]) -> Sequence[Tensor]:
        """The first rank's buffers, or those of the first that has this one's units: running statistics
        differ until they are synchronized.
        """
        size = len(self.layout.units)
        place = self.ranks.index(self.rank)
        sent = [_plain(buffer) for buffer in own] if place < size else None
        found = self.gather(sent)[place % size]
        assert found is not None
        return [mine if theirs is None else theirs for mine, theirs in zip(own, found, strict=True)]

    def whole(self, pairs: int) -> int:
        """So many pairs, and as many more as all ranks need to run equally many passes."""
        places = self.layout.places
        return -(-pairs // places) * places if self.layout.lockstep else pairs

    def close(self) -> None:
        """Tell the others, and give the group back."""
        if not dist.is_initialized():
            return  # the user has ended all communication before
        with contextlib.suppress(ValueError, RuntimeError):
            self._place.leave()
            if self._lost is None:
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

    Raises:
        ValueError: a model whose layers are spread over ranks in a way that is not covered.
        TeamError: not every rank calls.
    """
    layout = layout_of(model)
    return None if layout is None else Team(layout)


def _plain(buffer: Tensor) -> Tensor | None:
    """A copy to send; None for one that is itself spread over ranks, of which each rank has its part."""
    return None if hasattr(buffer, "placements") else buffer.detach().cpu()


@contextmanager
def resharded(model: nn.Module) -> Iterator[None]:
    """Leave a sharded model sharded: the root of FSDP keeps the gathered weights after a forward pass."""
    try:
        yield
    finally:
        for module in model.modules():
            if is_fsdp2(module):
                module.reshard()  # type: ignore[operator]
            elif is_fsdp1(module):
                reshard_fsdp(module)
