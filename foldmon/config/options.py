"""Every option of ``foldmon.watch`` that is a plain value, checked."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from foldmon.folding.data.numbers import real, whole

_METHODS = ("auto", "sampled", "exact")
_WHOLE = ("every", "pairs", "points", "samples", "seed", "replica_limit")
_REAL = ("budget", "allowance")
NUMBERS = (*_WHOLE, *_REAL)
"""The options that are numbers; NumPy's, tensors and floats without a fraction become Python's own."""


@dataclass(frozen=True)
class Config:
    """The options of a monitor that are plain values.

    Most are keyword arguments of :func:`foldmon.watch` too and described there.

    Attributes:
        replica_limit: bytes of weights up to which a copy is made; larger models are measured in the
            training thread.
        disabled: True makes ``foldmon.watch`` do nothing, at no cost.

    Raises:
        ValueError: an option out of its range; the message says which and what it takes.

    Example:
        >>> Config(budget=0.02).budget
        0.02
        >>> Config(points=1)
        Traceback (most recent call last):
            ...
        ValueError: points must be at least 2 (both ends), got 1
    """

    every: int | None = None
    budget: float = 0.01
    allowance: float = 1.0
    pairs: int = 64
    points: int = 33
    samples: int = 512
    method: Literal["auto", "sampled", "exact"] = "auto"
    layers: str | Sequence[str] | None = None
    at: str | None = None
    exporters: str | Sequence[str] | None = None
    background: bool = True
    seed: int = 0
    log_dir: str | None = None
    replica_limit: int = 8 * 2**30
    disabled: bool = False

    def __post_init__(self) -> None:
        for names, plain in ((_WHOLE, whole), (_REAL, real)):
            for name in names:
                # What is no number stays as it is, for the message.
                if (number := plain(getattr(self, name))) is not None:
                    object.__setattr__(self, name, number)
        _check(self.every is None or _whole(self.every, 1), "every", self, "at least 1 step, or None")
        _check(_number(self.budget) and 0 < self.budget <= 1, "budget", self, "a share in (0, 1]")
        _check(
            _number(self.allowance) and 0 <= self.allowance < float("inf"),
            "allowance",
            self,
            "seconds, at least 0",
        )
        _check(_whole(self.pairs, 2), "pairs", self, "at least 2")
        _check(_whole(self.points, 2), "points", self, "at least 2 (both ends)")
        _check(_whole(self.samples, 0), "samples", self, "a number of inputs, 0 for none")
        _check(self.method in _METHODS, "method", self, f"one of {', '.join(_METHODS)}")
        _check(_words(self.layers), "layers", self, "a name, a list of names, or None")
        _check(self.at is None or isinstance(self.at, str), "at", self, "the path of a module, or None")
        _check(self.exporters == () or _words(self.exporters), "exporters", self, "a list of words, or None")
        _check(isinstance(self.background, bool), "background", self, "True or False")
        _check(_whole(self.seed, 0), "seed", self, "at least 0")
        _check(self.log_dir is None or isinstance(self.log_dir, str), "log_dir", self, "a path, or None")
        _check(_whole(self.replica_limit, 0), "replica_limit", self, "a number of bytes, at least 0")
        _check(isinstance(self.disabled, bool), "disabled", self, "True or False")

    def to_dict(self) -> dict[str, Any]:
        """The options as plain values."""
        return asdict(self)


def option_names() -> tuple[str, ...]:
    """All options, in order."""
    return tuple(field.name for field in dataclasses.fields(Config))


def checked(name: str, value: object) -> Any:
    """The value of one option as :class:`Config` takes it.

    Raises:
        ValueError: it is out of the option's range.
    """
    if name in NUMBERS and isinstance(value, str):
        # YAML reads 1e-3, without a point, as text.
        with contextlib.suppress(ValueError):
            value = float(value)
    elif isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif isinstance(value, list):
        value = tuple(value)
    options: Mapping[str, Any] = {name: value}
    return getattr(Config(**options), name)


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(value: object) -> bool:
    if value is None or isinstance(value, str):
        return True
    return isinstance(value, Sequence) and len(value) > 0 and all(isinstance(word, str) for word in value)


def _check(holds: bool, name: str, config: Config, wanted: str) -> None:
    if not holds:
        # reprlib: the value may come from a hostile file, and be of any size and depth.
        raise ValueError(f"{name} must be {wanted}, got {reprlib.repr(getattr(config, name))}")
