"""What a command line names: a ``module:function``, a checkpoint, held-out data."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

# Where training frameworks put the weights in their checkpoints.
_NESTED = ("state_dict", "model_state_dict", "model")
# What wrappers put between the names: DistributedDataParallel, DataParallel, averaged models, torch.compile,
# FSDP, checkpointed modules; and what an averaged model saves beside its weights.
_WRAPPERS = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
_BESIDE = ("n_averaged",)
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_BLOCKED = re.compile(r"GLOBAL ([\w.]+)")


def called(reference: str) -> Any:
    """What the function ``module:function`` returns; modules of the current folder are found too.

    Raises:
        ValueError: the reference names no function.

    Example:
        >>> called("collections:OrderedDict")
        OrderedDict()
    """
    module_name, colon, name = reference.partition(":")
    if not colon or not module_name or not name:
        raise ValueError(f"{reference!r} must have the form module:function")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{reference!r} cannot be found: {error}") from error
    if not callable(found):
        raise ValueError(f"{reference!r} is a {type(found).__name__}, not a function")
    return found()


def model(reference: str, checkpoint: str | None) -> nn.Module:
    """The model that ``module:function`` makes, with the weights of a checkpoint.

    Args:
        reference: of a function without arguments, or of a class.
        checkpoint: a file of ``torch.save``: a state dict, or a dict with one under "state_dict",
            "model_state_dict" or "model". It is read with ``weights_only=True``: no code of it runs.

    Raises:
        ValueError: the function makes no module, or the weights are not the model's.
        OSError: the file cannot be read.
    """
    made = called(reference)
    if not isinstance(made, nn.Module):
        raise ValueError(f"{reference!r} returned a {type(made).__name__}, not a torch.nn.Module")
    if checkpoint is not None:
        _load_weights(made, checkpoint)
    return made


def data(source: str) -> Any:
    """Held-out data: an ``.npz`` or ``.pt`` file, or what ``module:function`` returns.

    An ``.npz`` file holds inputs ``x`` and, where known, labels ``y``. A ``.pt`` file holds a tensor, or a
    tuple or dict of them.

    Raises:
        ValueError: the source is no such thing.
        OSError: the file cannot be read.
    """
    if source.endswith(".npz"):
        return _arrays(source)
    if source.endswith((".pt", ".pth")):
        return _torch_file(source)
    return called(source)


def _arrays(source: str) -> Any:
    try:
        with np.load(source, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (ValueError, EOFError, KeyError) as error:
        raise ValueError(f"{source} is no .npz file of plain arrays ({error})") from error
    if "x" not in held:
        raise ValueError(f"{source} holds {', '.join(held) or 'nothing'}; inputs are to be named x, labels y")
    return (held["x"], held["y"]) if "y" in held else held["x"]


def _torch_file(path: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # torch.load raises whatever the unpickling of a wrong file meets.
        raise ValueError(
            f"{path} is no file of plain tensors that torch.save wrote ({_cause(error)})"
        ) from error


def _cause(error: Exception) -> str:
    """Which class is not read, where the file holds one; else the first line of what torch says."""
    text = _COLOUR.sub("", str(error))
    if blocked := _BLOCKED.search(text):
        return (
            f"it holds a {blocked[1]}, which may run code when it is read; save model.state_dict() alone, or "
            "read the file yourself and save its weights"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "Unpickler" in line), "".join(lines[:1])) or type(error).__name__


def _load_weights(module: nn.Module, path: str) -> None:
    state = _torch_file(path)
    if isinstance(state, dict):
        state = next((state[key] for key in _NESTED if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not any(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{Path(path).name} holds no state dict; save model.state_dict()")
    try:
        module.load_state_dict(_renamed(state, module.state_dict().keys()))
    except RuntimeError as error:
        raise ValueError(f"the weights of {path} are not the model's: {error}") from error


def _renamed(state: Mapping[str, Any], wanted: Collection[str]) -> Mapping[str, Any]:
    """The weights by the model's own names: without what wrappers put before or between the names.

    Of a module that holds the model among others (a LightningModule with its metrics) these others are left
    out. Weights that fit under no prefix are given back as they are, for the message of what is missing.
    """
    if state.keys() == set(wanted):
        return state
    plain = {_unwrapped(name): value for name, value in state.items() if name not in _BESIDE}
    names = {_unwrapped(name): name for name in wanted}
    fitting = [prefix for prefix in _prefixes(plain, names) if _under(prefix, plain) == names.keys()]
    if not fitting:
        return state
    prefix = "model." if "model." in fitting else fitting[0]
    return {own: plain[prefix + name] for name, own in names.items()}


def _prefixes(plain: Collection[str], names: Collection[str]) -> Iterator[str]:
    first = next(iter(names), "")
    return (name.removesuffix(first) for name in plain if name.endswith(first))


def _under(prefix: str, plain: Collection[str]) -> set[str]:
    return {name.removeprefix(prefix) for name in plain if name.startswith(prefix)}


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)
