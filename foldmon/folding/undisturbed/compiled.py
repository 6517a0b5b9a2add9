"""What becomes of functions under ``torch.compile`` while a model is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from foldmon.torch_internals import may_have_compiled


@contextmanager
def compiled_functions(stance: Literal["force_eager", "fail_on_recompile"]) -> Iterator[None]:
    """What becomes of functions and methods under ``torch.compile`` in the block; modules run eagerly anyway.

    Left alone, they would be compiled anew for the hooks of every probe, up to the limit from which on
    training runs them uncompiled. The stance is the whole process's: use it in the user's own thread only,
    never in a sampler's.
    """
    set_stance = getattr(torch.compiler, "set_stance", None)  # from torch 2.6 on
    if set_stance is None or not may_have_compiled():
        yield  # nothing can have been compiled
        return
    with set_stance(stance):
        yield
