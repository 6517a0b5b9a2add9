"""What stands in for something that must not be used while a model is measured."""

from __future__ import annotations

from typing import Any, NoReturn


class StoodInError(RuntimeError):
    """The model's forward pass uses what it was not given; the text says what."""


class StandIn:
    """Raises whatever is asked of it.

    Args:
        what: stands behind it, in words that end a sentence: "its forward pass uses ...".

    Example:
        >>> bool(StandIn("the trainer"))
        Traceback (most recent call last):
        ...
        foldmon.folding.undisturbed.stand_in.StoodInError: its forward pass uses the trainer
    """

    def __init__(self, what: str) -> None:
        object.__setattr__(self, "_what", what)

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise StoodInError(f"its forward pass uses {object.__getattribute__(self, '_what')}")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)  # asked by copy, pickle and inspection
        self._refuse()

    def __deepcopy__(self, memo: dict[int, Any]) -> StandIn:
        return self

    __setattr__ = __delattr__ = __call__ = __bool__ = __len__ = __iter__ = __next__ = __getitem__ = _refuse
    __setitem__ = __contains__ = __enter__ = __exit__ = __add__ = __mul__ = __lt__ = __gt__ = _refuse


class Drain(StandIn):
    """Stands in for a queue: what is put into it is dropped, and nothing comes out."""

    def put(self, *args: Any, **kwargs: Any) -> None:
        """Drop an item."""

    put_nowait = put
