"""Site names: choosing some by pattern, and helping where one is unknown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

_WRAPPED = ("_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod")


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """An error text that suggests the nearest known name."""
    names = [candidate for candidate in known if candidate]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")
    return f"unknown {what} {name!r}{hint} Known: {shown or 'none'}"


def without_wrappers(name: str) -> str:
    """A module's path as it is without what FSDP, activation checkpointing and torch.compile wrap around.

    Example:
        >>> from foldmon.folding.model.names import without_wrappers
        >>> without_wrappers("_fsdp_wrapped_module.0._checkpoint_wrapped_module.act")
        '0.act'
    """
    return ".".join(part for part in name.split(".") if part not in _WRAPPED)


def choose(sites: Sequence[str], layers: str | Iterable[str] | None) -> tuple[str, ...]:
    """The sites that ``layers`` asks for, in order of execution.

    Args:
        sites: all names, in order of execution.
        layers: names or shell patterns (``"features.*"``); a module's name covers all its calls.
            None chooses all.

    Raises:
        ValueError: a name or pattern that fits no site; the nearest name is suggested.
    """
    if layers is None:
        return tuple(sites)
    patterns = (layers,) if isinstance(layers, str) else tuple(layers)
    chosen: set[str] = set()
    for pattern in patterns:
        fits = {s for s in sites if fnmatchcase(s, pattern) or _call_of(s) == pattern}
        if not fits:
            raise ValueError(unknown_name("layer", pattern, sites))
        chosen |= fits
    return tuple(site for site in sites if site in chosen)


def _call_of(site: str) -> str:
    name, _, call = site.rpartition(":")
    return name if call.isdigit() and name else site
