"""Taps: see every activation call of one forward pass, and change nothing.

Module activations are read in forward *pre*-hooks, before an in-place ReLU overwrites its input;
functional ones by a ``TorchFunctionMode`` that is active only during the passes between ``__enter__``
and ``__exit__`` and only in this thread. Every hook returns None, so the pass computes what it always
computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from foldmon.folding.model.callers import CallPaths
from foldmon.folding.model.giving_up import go_on
from foldmon.folding.model.names import without_wrappers
from foldmon.folding.model.row_order import put_back
from foldmon.folding.symbols.activations import Activation, Reading
from foldmon.folding.symbols.functions import DRAWS, FUSED, KINKS, SORTS, as_function, draws, fused_activation
from foldmon.folding.symbols.registry import FUNCTIONS, reader_of
from foldmon.torch_internals import RemovableHandle, has_forward_hooks, is_under_vmap, unseen

Visit = Callable[[str, Reading], None]
"""Receives a site's name and what was read there, during the forward pass."""

Watch = Callable[[str, Callable[..., Any], tuple[Any, ...], Mapping[str, Any]], None]
"""Receives the place, function and arguments of a torch function call that is no activation."""

_SEEN = frozenset({*FUNCTIONS, *KINKS, *FUSED, *DRAWS})
_LINEAR = frozenset(
    {
        nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
        nn.Embedding, nn.Identity, nn.Dropout, nn.Flatten,
    }
)  # fmt: skip

RECURRENT = "live inside a fused kernel, which no hook can look into"
"""Why what recurrent kernels compute is not covered."""


class DrawsError(RuntimeError):
    """The model begins to draw random numbers where it must not."""


@dataclass
class Sightings:
    """What one tapped forward pass ran into, beside the sites that were read.

    Attributes:
        not_covered: where and what, with the reason in words.
        kinks: functions that bend or select (``max``, ``clamp``, ``>``, ...) outside activation layers, and
            the shape of what they last worked on, by place.
        executed: every module that ran, by path.
        shapes: of the last input of every module that is no activation layer and was given one tensor.
        scripted: paths of the outermost TorchScript modules.
        put_out: of modules that are not torch's, smallest and largest of the values that they put out if
            these are zeros and ones alone, else None; without ``lean``.
    """

    not_covered: dict[str, str] = field(default_factory=dict)
    kinks: dict[str, tuple[str, torch.Size]] = field(default_factory=dict)
    executed: dict[str, nn.Module] = field(default_factory=dict)
    shapes: dict[str, torch.Size] = field(default_factory=dict)
    scripted: list[str] = field(default_factory=list)
    put_out: dict[str, tuple[float, float] | None] = field(default_factory=dict)


class Taps:
    """Hooks on the modules of ``model`` for the length of a ``with`` block, and a function mode in passes.

    Args:
        model: the module to watch; its hooks are gone when the block ends, however it ends.
        visit: called with ``(site, reading)`` at each activation call, in order of execution. A site's
            name is the module's path (of one that several blocks share, that in the block that calls it),
            or ``path/function`` for functional calls; from its second call in one forward pass ``:1``,
            ``:2`` ... is appended. Exceptions of ``visit`` propagate.
        lean: no hooks on torch's own linear layers, in which nothing can be seen; ``sightings.executed``
            then lacks them.

    Call :meth:`restart` before every forward pass: it begins a new count of the calls.

    Attributes:
        watch: shown every torch function call outside activations, None to show none.
        order: how the model last sorted a vector in this pass, shape (N,), None where it did not.
        sorted: sites whose values were sorted so (tokens by expert) and are put back for ``visit``.
        may_draw: whether the pass may draw from the random generators that the whole process shares; where it
            may not, DrawsError is raised before it does.
    """

    def __init__(self, model: nn.Module, visit: Visit, *, lean: bool = False) -> None:
        self.model = model
        self.visit = visit
        self.lean = lean
        self.watch: Watch | None = None
        self.order: Tensor | None = None
        self.sorted: Set[str] = frozenset()
        self.may_draw = True
        self.sightings = Sightings()
        self._handles: list[RemovableHandle] = []
        self._calls: Counter[str] = Counter()
        self._paths = CallPaths(model)
        self._inside = 0  # depth of registered activation modules being executed
        self._mode = _FunctionTap(self)
        self._listening = False

    def __enter__(self) -> Taps:
        try:
            for name, module in self.model.named_modules():
                self._tap(without_wrappers(name), module)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *exception: Any) -> None:
        self.pause()
        self._remove()

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def restart(self) -> None:
        """Forget the calls of the last forward pass, also of one that raised half-way."""
        self._calls.clear()
        self._paths.restart()
        self._inside = 0
        self.order = None
        if not self._listening:
            self._mode.__enter__()  # type: ignore[no-untyped-call]
            self._listening = True

    def pause(self) -> None:
        """See no functional calls until the next :meth:`restart`: what is computed between passes."""
        self.order = None
        if self._listening:
            self._listening = False
            self._mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _tap(self, name: str, module: nn.Module) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            if not any(_holds(outer, name) for outer in self.sightings.scripted):
                self.sightings.scripted.append(name)
                self.sightings.not_covered[name or type(module).__name__] = (
                    "a TorchScript module: it runs no Python hooks; measure the module before scripting it"
                )
            return
        reader = reader_of(module)
        if self.lean and reader is None and _has_nothing_to_see(module):
            return
        enter, leave = _Enter(self, reader), _Leave(self, reader is not None)
        self._handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        self._handles.append(module.register_forward_hook(leave, always_call=True))

    @property
    def place(self) -> str:
        """Path of the module that is being executed, '' for the root."""
        return self._paths.place

    def saw(self, name: str, reading: Reading) -> None:
        """Number this call of the site and hand it on."""
        if reading.values.is_complex():
            self.sightings.not_covered.setdefault(name, "its pre-activations are complex numbers")
            return
        if is_under_vmap(reading.values):
            why = "it runs under torch.vmap, where no input's values can be read"
            self.sightings.not_covered.setdefault(name, why)
            return
        if hasattr(reading.values, "placements"):
            reading = Reading(_own_part(reading.values), reading.thresholds)
        if reading.values.is_quantized:
            reading = Reading(reading.values.dequantize(), reading.thresholds)
        call = self._calls[name]
        self._calls[name] += 1
        site = f"{name}:{call}" if call else name
        if site in self.sorted:
            if self.order is None or len(self.order) != len(reading.values):
                return  # what sorted it elsewhere did not run
            reading = Reading(put_back(reading.values, self.order), reading.thresholds)
        self.visit(site, reading)

    def saw_function(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Read a functional activation; note what bends or selects without being one."""
        function = as_function(function)
        if function not in _SEEN and self.watch is None:
            return
        if not self.may_draw and function in DRAWS and draws(function, args, kwargs):
            raise DrawsError("its forward pass has begun to draw random numbers in eval mode")
        if self._inside:
            return
        rule = FUNCTIONS.get(function)
        if rule is not None and self._read(rule, args, kwargs):
            return
        if self.watch is not None:
            self.watch(self.place, function, args, kwargs)
        if function in KINKS:
            bent = _largest_float((*args, *kwargs.values()))
            if bent is not None:
                self.sightings.kinks[_join(self.place, KINKS[function])] = (KINKS[function], bent.shape)
        elif function in FUSED:
            name = self.place or f"/{FUSED[function]}"
            why = f"the gates of {FUSED[function]} {RECURRENT}"
            self.sightings.not_covered.setdefault(name, why)

    def saw_result(self, function: Callable[..., Any], result: Any) -> None:
        """Read what a kernel puts out that holds an activation function as its last part."""
        name = fused_activation(function)
        if name is not None and not self._inside and isinstance(result, Tensor):
            with unseen():
                self.saw(_join(self.place, name), Reading(result, (0.0,)))

    def _read(self, rule: Activation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Read a call; False where it is no activation after all."""
        name = _join(self.place, rule.name)
        try:
            reading = rule.read_call(args, kwargs)
        except (TypeError, ValueError) as error:
            self.sightings.not_covered.setdefault(name, f"the call could not be read: {error}")
            return True
        if reading is not None:
            self.saw(name, reading)
        return reading is not None


def _own_part(values: Any) -> Tensor:
    """Of a tensor that is spread over ranks (DTensor) the part that this one has."""
    # A sum that is not added up yet has no signs: all ranks add it up, where all of them run this call.
    partial = any(placement.is_partial() for placement in values.placements)
    part: Tensor = values.full_tensor() if partial else values.to_local()
    return part


def _has_nothing_to_see(module: nn.Module) -> bool:
    """Whether a module runs no code but torch's own for a layer that is linear in eval mode."""
    # A subclass, a method of the instance's own and hooks may each call any function.
    own_code = has_forward_hooks(module) or "forward" in vars(module)
    return type(module) in _LINEAR and not own_code


def _holds(outer: str, name: str) -> bool:
    return not outer or name == outer or name.startswith(f"{outer}.")


def _join(place: str, function: str) -> str:
    return f"{place}/{function}" if place else f"/{function}"


def _largest_float(values: Iterable[Any]) -> Tensor | None:
    tensors = (v for v in values if isinstance(v, Tensor) and v.is_floating_point() and v.ndim > 0)
    return max(tensors, key=Tensor.numel, default=None)


def _bits(output: Any) -> tuple[float, float] | None:
    """Smallest and largest of values that are zeros and ones alone."""
    first = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(first, Tensor) or not first.is_floating_point() or not first.numel():
        return None
    with unseen():
        if is_under_vmap(first) or not bool(((first == 0) | (first == 1)).all()):
            return None
        return float(first.min()), float(first.max())


def _joined(a: tuple[float, float] | None, b: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if a is None or b is None else (min(a[0], b[0]), max(a[1], b[1]))


class _Enter:
    """Pre-hook: reads the module's first input where the module is an activation layer."""

    def __init__(self, taps: Taps, reader: Any) -> None:
        self.taps, self.reader = taps, reader

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        taps = self.taps
        path = taps._paths.enter(module)
        taps.sightings.executed[path] = module
        if self.reader is None:
            if len(args) == 1 and isinstance(args[0], Tensor):
                taps.sightings.shapes[path] = args[0].shape
            return
        taps._inside += 1
        if taps._inside > 1:
            return
        name = path or type(module).__name__
        z = args[0] if args else next((v for v in kwargs.values() if isinstance(v, Tensor)), None)
        if isinstance(z, Tensor):
            # What the visitor computes is none of the model's calls.
            with unseen():
                taps.saw(name, self.reader(module, z))
        else:
            taps.sightings.not_covered.setdefault(name, "its first input is no tensor")


class _Leave:
    """Hook after the module, also where it raised: keeps the stack of places right."""

    def __init__(self, taps: Taps, active: bool) -> None:
        self.taps, self.active = taps, active

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        taps, path = self.taps, self.taps.place
        taps._paths.leave()
        if not taps.lean and not type(module).__module__.startswith("torch."):
            taps.sightings.put_out[path] = _joined(
                taps.sightings.put_out.get(path, (1.0, 0.0)), _bits(output)
            )
        if self.active and self.taps._inside:
            self.taps._inside -= 1


class _FunctionTap(TorchFunctionMode):
    """Shows the taps each torch function call, then lets it run as it is."""

    def __init__(self, taps: Taps) -> None:
        super().__init__()
        self.taps = taps

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        go_on()
        # Torch takes the mode away while this runs, so that neither the visitor's own calls nor those
        # inside ``func`` come back here.
        self.taps.saw_function(func, args, kwargs)
        result = func(*args, **kwargs)
        self.taps.saw_result(func, result)
        if func in SORTS:
            order = result if isinstance(result, Tensor) else result[1]
            if order.ndim == 1:
                self.taps.order = order
        return result
