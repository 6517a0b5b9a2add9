"""Accelerators by the same words, whatever their make: CUDA, XPU, MPS, and what torch adds.

No other file names one. What runs on a device is ordered by its streams and events, so a probe beside
training has a stream of its own on every device that holds weights, and begins behind the copy of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

SHARE = 0.25
"""Share of a device's free memory that the activations of a probe may take: the rest is training's."""


def module_of(kind: str) -> Any:
    """``torch.cuda`` and its like for a type of device; None where torch has none, and for the CPU.

    Example:
        >>> from foldmon.folding.undisturbed.accelerator import module_of
        >>> module_of("cpu") is None, module_of("cuda").__name__
        (True, 'torch.cuda')
    """
    return None if kind in ("cpu", "meta") else getattr(torch, kind, None)


def _kind() -> str:
    """Type of the machine's accelerator, "cpu" without one; it is not begun."""
    try:
        device = torch.accelerator.current_accelerator()
    except RuntimeError:  # torch 2.6, where there is none
        device = None
    return "cpu" if device is None else device.type


def kind_in_use() -> str | None:
    """Type of the accelerator that this process has begun to use, None without one."""
    kind = _kind()
    module = module_of(kind)
    if module is None or not _is_available(module):
        return None
    # A question to one that is not begun yet would begin it, in every process that only watches.
    begun = getattr(module, "is_initialized", None)
    return kind if begun is None or begun() else None


def devices_of(model: nn.Module) -> list[torch.device]:
    """The accelerators that hold weights or buffers of the model, in the order of their first one."""
    tensors = chain(model.parameters(), model.buffers())
    return list(dict.fromkeys(t.device for t in tensors if module_of(t.device.type) is not None))


def names_of_devices() -> list[str]:
    """What the accelerators of this machine are called; empty without one."""
    kind = _kind()
    module = module_of(kind)
    if module is None or not _is_available(module):
        return []
    name = getattr(module, "get_device_name", None)
    return [kind if name is None else str(name(index)) for index in range(module.device_count())]


def _is_available(module: Any) -> bool:
    ask = getattr(module, "is_available", None)
    if ask is None:  # torch.mps, before 2.5
        ask = getattr(torch.backends, module.__name__.rpartition(".")[2]).is_available
    return bool(ask())


# Random numbers


def generator_states() -> list[Tensor]:
    """States of the generators of all devices in use, to compare or for :func:`set_generator_states`."""
    module = module_of(kind_in_use() or "cpu")
    if module is None:
        return []
    every = getattr(module, "get_rng_state_all", None)
    return list(every()) if every is not None else [module.get_rng_state()]


def set_generator_states(states: Sequence[Tensor]) -> None:
    """Put back what :func:`generator_states` gave."""
    if not states:
        return
    module = module_of(kind_in_use() or "cpu")
    every = getattr(module, "set_rng_state_all", None)
    if every is not None:
        every(list(states))
    else:
        module.set_rng_state(states[0])


def seed_generators(seed: int) -> None:
    """Seed the generators of all devices in use."""
    module = module_of(kind_in_use() or "cpu")
    if module is not None:
        getattr(module, "manual_seed_all", module.manual_seed)(seed)


# Memory


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is torch's own for a device without enough memory."""
    kinds = (getattr(torch, "OutOfMemoryError", None), getattr(torch.cuda, "OutOfMemoryError", None))
    return isinstance(error, tuple(kind for kind in kinds if kind is not None))


def free_bytes(device: torch.device) -> int | None:
    """Memory of a device that nobody has taken, in bytes; None where torch cannot tell.

    What torch keeps cached for training is not counted: training takes it again.
    """
    module = module_of(device.type)
    ask = getattr(module, "mem_get_info", None)
    return None if ask is None else int(ask(device)[0])


# Order


class Marks:
    """Where the work of a thread's current streams stood, a point on each of some devices.

    Args:
        devices: those whose streams are marked; ones without streams (MPS) run all in the order of the calls.

    Made in the training thread, it costs it no waiting: events are recorded behind what was launched.
    """

    def __init__(self, devices: Iterable[torch.device]) -> None:
        self._events: dict[torch.device, Any] = {}
        for device in devices:
            module = module_of(device.type)
            if hasattr(module, "Stream"):
                event = module.Event()
                event.record(module.current_stream(device))
                self._events[device] = event

    def let_wait(self, device: torch.device, stream: Any) -> None:
        """What is launched on the stream from now on runs behind the mark of its device."""
        if device in self._events:
            stream.wait_event(self._events[device])


class SideStreams:
    """A stream of its own on each of some devices, for a thread beside training.

    They are kept: the memory that torch caches belongs to a stream, and new ones would each cache their own.

    Args:
        devices: the first is the thread's current one within the block.
    """

    def __init__(self, devices: Sequence[torch.device]) -> None:
        self._streams = {
            device: module.Stream(device=device)
            for device in devices
            if hasattr(module := module_of(device.type), "Stream")
        }

    @contextmanager
    def behind(self, marks: Marks) -> Iterator[None]:
        """Launch everything in the block on them, behind the marks; it ends when all of it has run.

        For a sampler's thread: the end waits for the devices.
        """
        if not self._streams:
            yield
            return
        for device, stream in self._streams.items():
            marks.let_wait(device, stream)
        with ExitStack() as stack:
            # Entering a stream makes its device the current one: the first device goes last.
            for device, stream in reversed(self._streams.items()):
                stack.enter_context(module_of(device.type).stream(stream))
            try:
                yield
            finally:
                # What failed half-way reads the copy too, and the next one is written over it.
                for stream in self._streams.values():
                    stream.synchronize()


def to_host(tensor: Tensor) -> Tensor:
    """A tensor on the CPU: from a device by an asynchronous copy into pinned memory.

    Call :func:`arrived` before it is read.
    """
    if module_of(tensor.device.type) is None:
        return tensor
    pinned = hasattr(module_of(tensor.device.type), "Stream")
    room = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=pinned)
    return room.copy_(tensor, non_blocking=pinned)


def arrived(devices: Iterable[torch.device]) -> None:
    """Wait, in this thread, until what :func:`to_host` copies from the devices is there."""
    for device in devices:
        module = module_of(device.type)
        if hasattr(module, "current_stream"):
            module.current_stream(device).synchronize()


def is_capturing() -> bool:
    """Whether this thread records a graph: what it launches now would be replayed with it."""
    if (kind := kind_in_use()) is None:
        return False
    ask = getattr(module_of(kind), "is_current_stream_capturing", None)
    return bool(ask()) if ask is not None else False
