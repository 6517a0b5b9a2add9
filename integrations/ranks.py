"""Which ranks watch under a framework, and which module."""

from __future__ import annotations

from torch import nn

from foldmon.sampling.layout import layout_of


def watched_here(wrapped: nn.Module, inner: nn.Module, is_first: bool) -> nn.Module | None:
    """The module that this rank watches; None where it watches none.

    A model that every rank has whole is the first one's to watch, beside training, on a copy. One that no
    rank can run alone (FSDP, tensor parallel, ZeRO 3) is watched on all of them, as training calls it.

    Args:
        wrapped: the model as training calls it.
        inner: the user's own module in it.
        is_first: whether this is the first rank.

    Raises:
        ValueError: the model is spread over ranks in a way that is not covered.

    Example:
        >>> import torch
        >>> net = torch.nn.Linear(2, 2)
        >>> watched_here(net, net, is_first=True) is net, watched_here(net, net, is_first=False)
        (True, None)
    """
    layout = layout_of(wrapped)
    if layout is not None and layout.lockstep:
        return wrapped
    return inner if is_first else None
