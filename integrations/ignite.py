"""PyTorch Ignite: ``FoldingHandler(model, val_loader).attach(trainer)``."""

from __future__ import annotations

from typing import Any

from torch import nn

from foldmon import Monitor, watch
from foldmon.monitor.callbacks import guarded

try:
    from ignite.engine import Engine, Events
except ImportError as error:
    raise ImportError(
        "FoldingHandler needs PyTorch Ignite; install it with: pip install 'foldmon[ignite]'"
    ) from error


class FoldingHandler:
    """Watches a model while an engine trains it. Steps are the engine's iterations.

    An engine's output that is a single number, as that of ``create_supervised_trainer``, is taken for the
    training loss, which the warning reads.

    It has ``state_dict`` and ``load_state_dict``, so Ignite's ``Checkpoint`` takes it as it is.

    Args:
        model: the model in training.
        data: held-out data, as :func:`foldmon.watch` takes them.
        options: of :func:`foldmon.watch`, by keyword.

    Attributes:
        monitor: the :class:`foldmon.Monitor`, None before the engine starts.

    Example:
        >>> import tempfile, torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> def train(engine, batch):
        ...     optimizer.zero_grad(); model(batch).square().mean().backward(); optimizer.step()
        >>> trainer = Engine(train)
        >>> held_out = torch.randn(60, 4), torch.arange(60) % 3
        >>> handler = FoldingHandler(model, held_out, exporters=[], log_dir=tempfile.mkdtemp())
        >>> handler.attach(trainer)
        >>> state = trainer.run([torch.randn(8, 4) for _ in range(6)], max_epochs=2)
        >>> handler.monitor.steps
        12
    """

    def __init__(self, model: nn.Module, data: Any, **options: Any) -> None:
        self.monitor: Monitor | None = None
        self._model, self._data, self._options = model, data, options
        self._state: dict[str, Any] = {}
        self._handles: list[Any] = []

    def attach(self, engine: Engine) -> None:
        """Watch from the engine's start to its end.

        Not its exceptions: where a handler for them exists, Ignite takes the exception for settled.
        """
        for event, handler in (
            (Events.STARTED, self._start),
            (Events.ITERATION_COMPLETED, self._step),
            (Events.COMPLETED, self._close),
        ):
            self._handles.append(engine.add_event_handler(event, handler))

    def detach(self) -> None:
        """Take the handlers away and deliver what is left."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self.monitor is not None:
            self.monitor.close()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return self.monitor.state_dict() if self.monitor is not None else self._state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Taken up when the engine starts."""
        self._state = dict(state_dict)

    @guarded
    def _start(self, engine: Engine) -> None:
        self.monitor = watch(self._model, self._data, step=engine.state.iteration, **self._options)
        if self._state:
            self.monitor.load_state_dict({**self._state, "step": engine.state.iteration})

    @guarded
    def _step(self, engine: Engine) -> None:
        if self.monitor is not None:
            if isinstance(engine.state.output, float):
                self.monitor.log(loss=engine.state.output)
            self.monitor.step(engine.state.iteration)

    @guarded
    def _close(self, engine: Engine) -> None:
        if self.monitor is not None:
            self.monitor.close()
