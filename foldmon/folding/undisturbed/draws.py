"""What this thread draws from the global random generators, told from what other threads draw from them.

The generators of Python, NumPy and torch belong to the whole process. Where one has moved while a model was
looked over, and another thread trains or feeds a training meanwhile, putting it back would give that
thread the same numbers twice.
"""

from __future__ import annotations

import dis
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foldmon.folding.undisturbed.threads import other_threads
from foldmon.torch_internals import TorchDispatchMode, is_compiled_call, pytree, run_kernel

COMPILED = "compiled"
"""Under this name calls of functions under ``torch.compile`` are noted."""

_SEEDING = frozenset({"manual_seed", "seed", "set_rng_state", "fork_rng"})  # functions of torch.random
_OF_PYTHON, _OF_NUMPY = (
    {id(module), *(id(getattr(module, name)) for name in module.__all__)} for module in (random, np.random)
)


class Noted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Draws of one thread: torch's by the kernels that run, others by the code that runs.

    Which code draws from Python's or NumPy's generator is not seen, only which may: it names them.

    Attributes:
        count: of draws noted so far.
        latest: number of the latest one of each generator, by its name; and of calls of compiled functions.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        self.latest: dict[str, int] = {}
        self._codes: dict[CodeType, list[str]] = {}

    def note(self, *names: str) -> None:
        """These generators were moved."""
        self.count += 1
        self.latest |= dict.fromkeys(names, self.count)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return run_kernel(func, args, kwargs or {})
        before = torch.get_rng_state()
        made = run_kernel(func, args, kwargs or {})
        if not torch.equal(before, torch.get_rng_state()):
            self.note("torch")
        if any(leaf.device.type != "cpu" for leaf in pytree.tree_leaves(made) if isinstance(leaf, Tensor)):
            self.note("devices")
        return made

    def profile(self, frame: FrameType, event: str, arg: Any) -> None:
        """Told of every Python function that this thread calls."""
        if event == "call":
            code = frame.f_code
            if code not in self._codes:
                self._codes[code] = _may_move(code, frame.f_globals)
            if self._codes[code]:
                self.note(*self._codes[code])


_of_thread = threading.local()


def noted() -> Noted | None:
    """The notes on this thread's draws, None where none are taken: then all draws are taken for its own."""
    return getattr(_of_thread, "noted", None)


@contextmanager
def noted_draws() -> Iterator[None]:
    """Take notes in this block where other threads are at work; under a profiler of the user's none are."""
    if noted() is not None or sys.getprofile() is not None or not other_threads():
        yield
        return
    notes = _of_thread.noted = Noted()
    try:
        with notes:
            sys.setprofile(notes.profile)
            yield
    finally:
        sys.setprofile(None)
        _of_thread.noted = None


def _may_move(code: CodeType, variables: dict[str, Any]) -> list[str]:
    """Which generators a function may move, by the names in its code."""
    if is_compiled_call(code):
        return [COMPILED]
    home = str(variables.get("__name__"))
    if home.partition(".")[0] in ("torch", "numpy", "random", "foldmon"):
        return ["torch", "devices"] if home.endswith(".random") and code.co_name in _SEEDING else []
    # By identity alone: the user's objects are asked nothing.
    values = {id(variables.get(name)) for name in code.co_names}
    names = {*code.co_names, *code.co_freevars, *code.co_varnames}
    found = []
    if values & _OF_PYTHON or ("random" in names and _imports_random(code)):
        found.append("python")
    if values & _OF_NUMPY or ("random" in names and names & {"np", "numpy"}):
        found.append("numpy")
    return found


def _imports_random(code: CodeType) -> bool:
    steps = dis.get_instructions(code)
    imported = any(step.opname == "IMPORT_NAME" and step.argval == "random" for step in steps)
    return imported or "random" in code.co_freevars
