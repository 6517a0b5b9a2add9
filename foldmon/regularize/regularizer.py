"""The regularizer: a term of the loss that rewards folding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from foldmon.folding.data.pairs import Pairs
from foldmon.folding.data.trees import batch_size, to_tensors
from foldmon.folding.model.prober import Forward
from foldmon.folding.model.unwrap import device_of, require_module
from foldmon.regularize.attached import AttachedHook, Evaluate
from foldmon.regularize.batch_pairs import pairs_in_batch
from foldmon.regularize.gradient import Weight, term
from foldmon.regularize.probe import Slope, SoftProbe
from foldmon.regularize.schedules import Schedule, constant
from foldmon.regularize.soft import Softness
from foldmon.torch_internals import RemovableHandle


class FoldingRegularizer:
    """Adds -weight * phi to a loss, where phi is a differentiable folding of the batch at hand.

    Inputs of the batch are joined in pairs; ``points`` inputs on each line go through the model in one
    extra forward and backward pass of ``pairs * points`` inputs, in eval mode: BatchNorm statistics,
    dropout and all global random states stay as they are. Next to a batch of B inputs that costs about
    ``pairs * points / B`` of a step, plus some milliseconds for the hooks; fewer pairs or points cost less,
    and ``foldmon.regularize.sparse`` spreads the cost over several steps.

    Args:
        model: any module that ``foldmon.measure`` covers; pass the compiled or DDP-wrapped one where there
            is one.
        weight: of the term; above 0 rewards folding, below 0 flattens. Or a schedule, a callable of the
            step and the last soft phi: ``foldmon.regularize.constant``, ``early``, ``cosine``, ``sparse``,
            ``target`` or your own.
        pairs: P, pairs a batch; None takes as many, up to 8, as keep the extra inputs at a quarter of the
            batch, and at least one.
        points: n, points a path, both ends included, at least 3 (two points never turn back).
        temperature: width of the soft symbols, in units of the spread of a layer's pre-activations. Small
            is close to the measure, large reaches units farther from their thresholds.
        smooth_maximum: soften the maximum in r1 as well.
        straight_through: phi is what ``foldmon.measure`` gives at the same points; the soft symbols serve
            for the gradient alone. Goes with the plain maximum only.
        layers: names or shell patterns of the activation layers whose folding counts, None for all.
        forward: ``forward(model, inputs)``, for models that are called in a way of their own.
        seed: of the draw of the pairs.

    Attributes:
        step: number of batches so far; what a schedule is asked with.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: an argument out of its range, or a model sharded by FSDP.

    Source: "The Space Between: On Folding, Symmetries and Sampling", arXiv 2503.08502, which proposes
    rewarding folding; the soft symbols are foldmon's own.

    Example:
        >>> import math, torch, foldmon
        >>> _ = torch.manual_seed(0)
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU())
        >>> reg = foldmon.FoldingRegularizer(net, weight=0.1)
        >>> x = torch.randn(64, 2)
        >>> loss = net(x).square().mean()
        >>> (loss + reg(x)).backward()
        >>> math.isclose(reg.values["term"], -0.1 * reg.values["phi"], rel_tol=1e-6), sorted(reg.values)
        (True, ['phi', 'term', 'weight'])
    """

    def __init__(
        self,
        model: nn.Module,
        weight: float | Schedule = 1e-2,
        *,
        pairs: int | None = None,
        points: int = 5,
        temperature: float = 0.2,
        smooth_maximum: bool = False,
        straight_through: bool = False,
        layers: str | Iterable[str] | None = None,
        forward: Forward | None = None,
        seed: int = 0,
    ) -> None:
        require_module(model)
        if pairs is not None and pairs < 1:
            raise ValueError(f"pairs must be at least 1, got {pairs}")
        if points < 3:
            raise ValueError(f"points must be at least 3: a path of {points} points cannot turn back")
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"temperature must be above 0, got {temperature}")
        if smooth_maximum and straight_through:
            raise ValueError(
                "straight_through gives the measured phi, whose maximum is plain: drop smooth_maximum"
            )
        self.model = model
        self.schedule: Schedule = weight if callable(weight) else constant(weight)
        self.pairs, self.points = pairs, points
        self.step = 0
        softness = Softness(temperature, smooth_maximum, straight_through)
        self._probe = SoftProbe(model, points=points, softness=softness, layers=layers, forward=forward)
        self._generator = torch.Generator().manual_seed(seed)
        self._last: tuple[Weight, Slope] | None = None
        self._last_phi: Tensor | None = None
        self._handle: RemovableHandle | None = None
        # The extra pass is eager, also where it is asked for from within a compiled function.
        self._evaluate: Evaluate = torch.compiler.disable(self._evaluate_eagerly)  # type: ignore[no-untyped-call]

    def __call__(self, x: Any, labels: Any = None) -> Tensor:
        """The term for one batch, to be added to the loss before ``backward``.

        Args:
            x: inputs of the model, batch first: a tensor, or a tuple or dict of them.
            labels: class of each input, integers of shape (B,): pairs then join different classes.

        Returns:
            -weight * phi, a 0-d tensor. Its gradient reaches the parameters, not ``x``, and cannot be
            differentiated again. 0 without a gradient where the weight is 0 or the batch holds no pair.

        Raises:
            ValueError: no activation layer, an unknown layer name, or labels that do not fit.
            RuntimeError: reentrant activation checkpointing, or a model without trainable parameters.
        """
        evaluated = self._evaluate(x, labels)
        if evaluated is None:
            return torch.zeros((), device=device_of(self.model))
        weight, slope = evaluated
        return term(slope, weight)

    @property
    def values(self) -> dict[str, float]:
        """The last batch's "term", "weight" and soft "phi", to be logged; empty before the first.

        Read lazily: on a GPU the reading waits for the device, computing the term does not. phi is NaN
        where the weight was 0, so that nothing was computed, or where the batch held no pair.

        Example:
            >>> import torch, foldmon
            >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
            >>> reg = foldmon.FoldingRegularizer(net, weight=0.5)
            >>> _ = reg(torch.randn(16, 2))
            >>> {f"regularizer/{name}": value for name, value in reg.values.items()}["regularizer/weight"]
            0.5
        """
        if self._last is None:
            return {}
        weight, slope = self._last
        return {
            "term": float(-weight * slope.phi),
            "weight": float(weight),
            "phi": float(slope.observed_phi),
        }

    def attach(self, scale: float | Callable[[], float] = 1.0) -> FoldingRegularizer:
        """Add the term's gradient in every training step from now on, without a change to the loop.

        A hook on the model computes the term of each forward pass in training mode (regardless of class)
        and adds its gradient, the same to the last digit as ``loss + reg(x)`` would, when the backward
        pass comes through the model's outputs. The loss keeps its value.

        Args:
            scale: the factor between the loss and what ``backward`` is called on, or a function that
                returns it: 1 / k where a loop divides the loss by k accumulated batches, and
                ``scaler.get_scale`` where a ``GradScaler`` scales it. The hook cannot see it.

        Returns:
            The regularizer. Attaching again replaces the hook.

        Example:
            >>> import torch, foldmon
            >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
            >>> reg = foldmon.FoldingRegularizer(net, weight=0.1).attach()
            >>> net(torch.randn(16, 2)).mean().backward()
            >>> reg.detach()
            >>> reg.step
            1
        """
        self.detach()
        factor = scale if callable(scale) else lambda: float(scale)
        self._handle = AttachedHook(self.model, self._evaluate, factor).register()
        return self

    def detach(self) -> None:
        """Take the hook away; nothing happens where none is attached."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs: the step and the state of the draw."""
        return {"step": self.step, "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.step = int(state["step"])
        self._generator.set_state(state["generator"])

    def _evaluate_eagerly(self, x: Any, labels: Any) -> tuple[Weight, Slope] | None:
        """Weight and slope of one batch, None where there is nothing to compute."""
        weight = self.schedule(self.step, self._last_phi)
        self.step += 1
        off = not isinstance(weight, Tensor) and weight == 0
        drawn = None if off else self._draw(to_tensors(x), labels)
        if drawn is None:
            nothing = torch.zeros((), device=device_of(self.model))
            self._last = weight, Slope(phi=nothing, pairs=nothing)
            return None
        slope = self._probe.slope(*drawn)
        # Without the gradients: they would take the memory of the parameters from step to step.
        self._last, self._last_phi = (weight, Slope(slope.phi, slope.pairs)), slope.observed_phi
        return weight, slope

    def _draw(self, inputs: Any, labels: Any) -> tuple[Pairs, Tensor] | None:
        count = self.pairs or min(8, max(1, batch_size(inputs) // (4 * self.points)))
        return pairs_in_batch(inputs, labels, count, self._generator)
