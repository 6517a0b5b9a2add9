"""The extra forward pass: soft phi of some pairs, and its gradient."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Set
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from foldmon.folding.data.pairs import Pairs
from foldmon.folding.data.trees import call
from foldmon.folding.model.batch_axis import batch_first
from foldmon.folding.model.paths import StraightPaths
from foldmon.folding.model.prober import Forward, Prober
from foldmon.folding.model.taps import Taps
from foldmon.folding.model.unwrap import device_of, dtype_of, unwrap
from foldmon.folding.symbols.activations import Reading, Thresholds
from foldmon.folding.undisturbed.flags import eval_flags
from foldmon.folding.undisturbed.random_state import preserved_random_state
from foldmon.regularize.soft import Softness, soft_folding
from foldmon.torch_internals import is_reentrant_checkpoint

# Keeps half-precision gradients of the pass above underflow, as a GradScaler does; a power of two, so
# that taking it out again changes no digit.
GRADIENT_SCALE = 2.0**12


@dataclass(frozen=True)
class Slope:
    """Soft phi and its gradient.

    Attributes:
        phi: mean chi of the valid pairs, 0-d, detached; 0 where there is none.
        pairs: number of valid pairs, 0-d.
        parameters: those that phi depends on.
        gradients: of ``GRADIENT_SCALE * phi``, one a parameter.
    """

    phi: Tensor
    pairs: Tensor
    parameters: tuple[Parameter, ...] = ()
    gradients: tuple[Tensor, ...] = ()

    @property
    def observed_phi(self) -> Tensor:
        """phi, NaN where no pair was valid."""
        return torch.where(self.pairs > 0, self.phi, math.nan)


class SoftProbe:
    """Evaluates the soft phi of a model along lines, in eval mode.

    The gradient is taken at once, while the model is still in eval mode, and the graph is freed: the pass
    holds no memory during the user's own backward pass, and a checkpointed block is computed again in the
    mode in which it ran.

    Args:
        model: any module; wrappers (compiled, DDP) are looked through.
        points: n, equally spaced points a path.
        softness: of the symbols and the maximum.
        layers: names or patterns of the sites, None for all.
        forward: ``forward(model, inputs)``, None for ``model(inputs)``.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        points: int,
        softness: Softness,
        layers: str | Iterable[str] | None,
        forward: Forward | None,
    ) -> None:
        self.model = unwrap(model)
        _refuse_sharded(self.model)
        self.points = points
        self.softness = softness
        self.layers = layers
        self.forward = forward or call
        self._axes: Mapping[str, int] = {}  # of the chosen sites, empty before the first pass
        self._sorted: Set[str] = frozenset()

    def slope(self, pairs: Pairs, valid: Tensor) -> Slope:
        """Soft phi and, where gradients are on, its gradient; the model and all random states stay.

        Args:
            pairs: ends of the lines.
            valid: which pairs count, bool of shape (P,).

        Raises:
            ValueError: no activation layer, an unknown layer name, or no layer with thresholds.
            RuntimeError: a block runs under reentrant checkpointing, or no parameter can be trained.
        """
        with preserved_random_state(), eval_flags(self.model), ExitStack() as stack:
            self._let_recurrent_layers_train()
            if not self._axes:
                self._scout(pairs)
            chi = self._chi(pairs, stack)
            valid = valid.to(chi.device)
            count = valid.sum()
            phi = torch.where(valid, chi, 0.0).sum() / count.clamp_min(1)
            if not torch.is_grad_enabled():
                return Slope(phi, count)
            return Slope(phi.detach(), count, *self._gradients(phi))

    def _let_recurrent_layers_train(self) -> None:
        # cuDNN runs no backward pass of a recurrent layer in eval mode; without dropout the modes agree.
        for module in self.model.modules():
            if isinstance(module, nn.RNNBase) and module.dropout == 0:
                module.training = True

    def _scout(self, pairs: Pairs) -> None:
        prober = Prober(self.model, pairs[:1], layers=self.layers, forward=self.forward)
        self._axes = {site: prober.axes[site] for site in prober.sites}
        self._sorted = prober.sorted

    def _chi(self, pairs: Pairs, stack: ExitStack) -> Tensor:
        """Soft chi of each pair, shape (P,); the lines' hooks stay until ``stack`` closes."""
        device = device_of(self.model)
        lines = StraightPaths(self.model, pairs, device, dtype_of(self.model))
        lines.hook(stack)
        paths = torch.arange(len(pairs), device=device).repeat_interleave(self.points)
        with torch.no_grad():
            lines.capture(lambda inputs: self.forward(self.model, inputs), paths)
        t = torch.linspace(0, 1, self.points, dtype=torch.float64, device="cpu").to(device).repeat(len(pairs))
        layers: list[tuple[Tensor, Thresholds]] = []

        def visit(site: str, reading: Reading) -> None:
            if site not in self._axes or reading.thresholds is None:
                return
            if not torch.is_grad_enabled():
                refuse_reentrant_checkpoint()
            values = batch_first(reading.values, self._axes[site], len(t))
            if values is not None:
                # An in-place activation overwrites its input, and with it the graph that led there.
                layers.append((values.clone(), reading.thresholds))

        with Taps(self.model, visit) as taps:
            taps.sorted = self._sorted
            taps.restart()
            self.forward(self.model, lines.rows(paths, t))
        if not layers:
            raise ValueError(
                f"none of the chosen layers ({', '.join(self._axes)}) has thresholds that a soft symbol "
                "could replace; choose activation layers with layers="
            )
        with torch.autocast(device.type, enabled=False):
            return soft_folding(layers, self.points, self.softness, device)

    def _gradients(self, phi: Tensor) -> tuple[tuple[Parameter, ...], tuple[Tensor, ...]]:
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if not phi.requires_grad or not parameters:
            raise RuntimeError(
                "the folding of the chosen layers depends on no parameter that requires a gradient; "
                "unfreeze a layer before them, choose later ones with layers=, or drop the regularizer"
            )
        found = torch.autograd.grad(GRADIENT_SCALE * phi, parameters, allow_unused=True)
        used = [(p, g) for p, g in zip(parameters, found, strict=True) if g is not None]
        return tuple(p for p, _ in used), tuple(g for _, g in used)


def _refuse_sharded(model: nn.Module) -> None:
    kinds = {cls.__name__ for module in model.modules() for cls in type(module).__mro__}
    if kinds & {"FSDPModule", "FullyShardedDataParallel"}:
        raise ValueError(
            "the regularizer cannot train a model whose parameters FSDP shards: its extra pass takes "
            "gradients outside the sharded backward pass; use DistributedDataParallel"
        )


def refuse_reentrant_checkpoint() -> None:
    """Raise where the caller runs inside ``torch.utils.checkpoint`` of the reentrant kind.

    That kind runs its block without a graph, and the folding inside it would silently count for nothing.
    The stack tells it from a block that a model keeps under ``no_grad`` by itself.
    """
    frame = sys._getframe()
    while frame is not None:
        if is_reentrant_checkpoint(frame.f_code):
            raise RuntimeError(
                "the regularizer cannot reach activations inside torch.utils.checkpoint with "
                "use_reentrant=True; pass use_reentrant=False to checkpoint "
                '(transformers: gradient_checkpointing_kwargs={"use_reentrant": False})'
            )
        if frame.f_back is None:
            return
        frame = frame.f_back
