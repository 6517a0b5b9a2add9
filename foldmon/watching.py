"""``foldmon.watch``: the one line."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, ParamSpec

import torch
from torch import nn
from torch.optim import Optimizer

from foldmon.config.options import NUMBERS, Config
from foldmon.config.sources import ConfigLike, resolved
from foldmon.exporters.base import Exporter
from foldmon.exporters.callables import name_of
from foldmon.exporters.output import Output
from foldmon.exporters.resolve import ExporterLike, resolve
from foldmon.folding.data.drawing import draw_panel, other_panels
from foldmon.folding.data.labels import HeldOut
from foldmon.folding.data.numbers import required_whole
from foldmon.folding.data.pairs import Pairs, draw_pairs
from foldmon.folding.model.paths import NoLineError
from foldmon.folding.model.prober import Forward
from foldmon.folding.model.scout import CannotCallError
from foldmon.folding.model.unwrap import require_module
from foldmon.folding.results.criterion import Loss
from foldmon.folding.results.heads import Classes
from foldmon.journal.writing import JSONLExporter
from foldmon.monitor.inert import InertMonitor
from foldmon.monitor.lifetime import close_earlier, keep_open
from foldmon.monitor.protocol import Monitor
from foldmon.monitor.running import RunningMonitor
from foldmon.sampling.layout import refuse_stages
from foldmon.sampling.subject import Subject
from foldmon.sampling.team import Team, team_of
from foldmon.warning.alarm import OnWarning

_P = ParamSpec("_P")


def _filled_in(function: Callable[_P, Monitor]) -> Callable[_P, Monitor]:
    """Fill in the options that are not given, from the environment and the file that ``config`` names.

    One that is given is the strongest also where it is the default: only out here it is known which were.
    """
    parameters = inspect.signature(function).parameters

    @functools.wraps(function)
    def wrapper(*args: Any, **given: Any) -> Monitor:
        plain = {n: _words(value) if n == "exporters" else value for n, value in given.items()}
        config = resolved(given.get("config"), os.environ, plain)
        options = {n: value for n, value in vars(config).items() if n in parameters}
        numbers = {n: options[n] for n in given if n in NUMBERS} if not config.disabled else {}
        # What is made in inference mode, a validation hook's say, could not be written to after it.
        with torch.inference_mode(False):
            return function(*args, **options | given | numbers | {"config": config})

    return wrapper


@_filled_in
def watch(
    model: nn.Module,
    data: Any,
    *,
    optimizer: Optimizer | None = None,
    every: int | None = None,
    budget: float = 0.01,
    allowance: float = 1.0,
    pairs: int = 64,
    points: int = 33,
    method: Literal["auto", "sampled", "exact"] = "auto",
    layers: str | Sequence[str] | None = None,
    at: str | None = None,
    forward: Forward | None = None,
    loss: Loss | None = None,
    classes: Classes = None,
    samples: int = 512,
    exporters: Sequence[ExporterLike] | ExporterLike | None = None,
    on_warning: OnWarning | None = None,
    background: bool = True,
    seed: int = 0,
    log_dir: str | os.PathLike[str] | None = None,
    config: ConfigLike | None = None,
    step: int = 0,
) -> Monitor:
    """Measure the folding of every activation layer while ``model`` trains, and stream it live.

    Training steps are counted by the optimizer that owns the model's parameters. At a due step the weights
    are copied into a private copy of the model, and a background thread measures on it; the model itself
    carries no hook, and training computes bit for bit what it computes without foldmon.

    Args:
        model: the model in training; compiled and DDP wrappers are looked through.
        data: held-out data, never used for training: a ``DataLoader``, a ``Dataset``, anything else that
            yields batches or has a length and items, inputs, or ``(inputs, labels)``; inputs are a tensor or
            array, or a tuple or dict of them, batch first. No more of it is read than needed, and nothing is
            used up. What was understood is said on the console. ``foldmon.Pairs`` are taken as they are.
        optimizer: whose steps are counted; None finds it.
        every: training steps between probes of all pairs, whatever they cost; None measures shares of the
            pairs at growing intervals, as much as the budget and the allowance pay for.
        budget: share of the training time that probes may cost, 0 < budget <= 1.
        allowance: seconds that probes may cost in all beyond it: what buys the early curve.
        pairs: number of held-out pairs P, at least 2.
        points: points n on the path between two inputs, at least 2. Where a pair is so dear that a probe
            affords fewer than eight, paths are walked at fewer (9 at least), and what these miss is
            extrapolated.
        method: "sampled" or "exact", see ``foldmon.measure``; "auto" is the one that is cheapest in time and
            looks at the same pairs and points at every probe, which is "sampled".
        layers: names or shell patterns of the layers to measure; None for all.
        at: path of the module whose output is interpolated instead of the inputs; None finds it for token
            models.
        forward: ``forward(model, inputs)``, for models that are called in a way of their own.
        loss: ``loss(output, target)``, such as the training criterion: the held-out loss where labels do not
            tell it by themselves (regression, segmentation, contrastive learning). Without labels its
            target are the inputs. It is called without gradients, in the thread that measures.
        classes: whether outputs are predictions of classes, or a function that gives the logits of an output,
            shape (R, C). None finds it out: from the labels, else where it is plausible.
        samples: held-out inputs whose predictions are followed beside the pairs, with their mean loss and
            accuracy where the data hold labels; fewer where they would take more than 256 MiB or are dear
            to read, 512 where they are dear to predict or several processes train together, none for 0.
        exporters: exporters, the words "tensorboard", "mlflow", "wandb", "console", or functions
            ``f(values, step)`` that are called with each probe's numbers by name, in a thread of their own;
            None means TensorBoard, a console line now and then, and MLflow where a run is active. A journal
            is always kept.
        on_warning: called in the training thread, between two steps, with each warning
            (``.step .severity .reasons``) that the model seems to generalize worse.
        background: measure in a thread of its own, on a copy of the weights; False measures in the training
            thread, on the model itself.
        seed: of the draw of the pairs.
        log_dir: the run's folder; values go into its sub-folder ``foldmon``. None makes
            ``runs/foldmon-<time>``. An address such as ``s3://bucket/run`` gets copies, through fsspec. Where
            another monitor writes there, the values go into ``foldmon-2`` beside it.
        config: a YAML file of these options (``foldmon config`` prints one), or a
            :class:`foldmon.config.Config`. Environment variables (``FOLDMON_EVERY=100``) are stronger, and
            keyword arguments stronger still; ``FOLDMON_DISABLED=1`` makes a monitor that does nothing.
        step: number of the training step at which watching begins, for a resumed run.

    Returns:
        Monitor: close it at the end of training, or use it in a ``with`` block; at the end of the process
        it closes itself.

    Raises:
        TypeError, ValueError: arguments, data or a model that cannot be watched; the message says what
            to do.

    Example:
        >>> import tempfile, torch, foldmon
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 16), torch.nn.ReLU(),
        ...     torch.nn.Linear(16, 3))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> held_out = torch.randn(60, 4), torch.arange(60) % 3
        >>> with foldmon.watch(model, held_out, exporters=[], log_dir=tempfile.mkdtemp()) as monitor:
        ...     for _ in range(20):
        ...         loss = model(torch.randn(8, 4)).square().mean()
        ...         optimizer.zero_grad(); loss.backward(); optimizer.step()
        >>> monitor.steps, monitor.report.layers
        (20, ('1', '3'))
    """
    assert isinstance(config, Config)  # filled in
    if config.disabled:
        return InertMonitor()
    refuse_stages(model)
    require_module(model)
    _check_functions(loss, classes)
    begin = required_whole("step", step)

    def draw() -> tuple[Pairs, HeldOut | None]:
        if samples:
            return draw_panel(data, pairs, samples, seed=seed)
        return data if isinstance(data, Pairs) else draw_pairs(data, pairs, seed=seed), None

    team = team_of(model)
    drawn, held_out = draw() if team is None else team.same_panel(draw)

    def subject_of(pairs: Pairs, inputs: HeldOut | None) -> Subject:
        return Subject(model, pairs, config, forward, team, inputs, loss, classes)

    subject = _first_that_fits(subject_of, drawn, held_out, seed)
    journal, delivered = _destinations(exporters, log_dir, team)
    close_earlier(model)
    output = Output(journal, delivered, _write_report)
    monitor = RunningMonitor(model, subject, config, output, optimizer, begin, on_warning)
    keep_open(model, monitor)
    return monitor


def _check_functions(loss: Any, classes: Any) -> None:
    if not (loss is None or callable(loss)):
        raise TypeError(
            "loss must be a function (output, target) -> tensor, such as the training criterion, or None, "
            f"got {type(loss).__name__}"
        )
    if not (classes is None or isinstance(classes, bool) or callable(classes)):
        raise TypeError(
            "classes must be True or False, a function from an output to its logits, or None, got "
            f"{type(classes).__name__}"
        )


def _first_that_fits(
    subject_of: Callable[[Pairs, HeldOut | None], Subject], pairs: Pairs, held_out: HeldOut | None, seed: int
) -> Subject:
    """Held-out data as the model takes them: as they are usually meant, or else as it can be called with."""
    others: Iterator[Any] = iter(()) if held_out is None else other_panels(held_out, len(pairs), seed=seed)
    refused: Exception | None = None
    for drawn, inputs in chain([(pairs, held_out)], others):
        try:
            subject = subject_of(drawn, inputs)
        except (CannotCallError, NoLineError) as error:
            refused = refused or error
            continue
        if inputs is not None:
            subject.coverage = subject.coverage.with_notes(str(inputs))
        return subject
    assert refused is not None
    raise refused


def _words(exporters: Any) -> Any:
    """The exporters as the words that a configuration holds."""
    if exporters is None or isinstance(exporters, str):
        return exporters
    several = exporters if isinstance(exporters, Sequence) else [exporters]
    return [e if isinstance(e, str) else str(getattr(e, "name", name_of(e))) for e in several]


def _destinations(
    exporters: Sequence[ExporterLike] | ExporterLike | None,
    log_dir: str | os.PathLike[str] | None,
    team: Team | None,
) -> tuple[JSONLExporter, Sequence[Exporter]]:
    if team is None:
        return resolve(exporters, log_dir)
    made: list[tuple[JSONLExporter, Sequence[Exporter]]] = []
    # Of a team only the first process writes; the others learn where that went wrong.
    team.from_first(lambda: made.append(resolve(exporters, log_dir)))
    return made[0] if made else (JSONLExporter(os.devnull), [])


def _write_report(journal: Path, page: Path) -> None:
    # Handed to whoever writes: exporters do not know what draws.
    from foldmon.views.page import write_report

    write_report([journal], page)
