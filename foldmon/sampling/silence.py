"""A monitor that sees no training step says so once, soon, and at its end."""

from __future__ import annotations

import logging
import threading
import weakref

from torch import nn

from foldmon.sampling.watched import Watched

logger = logging.getLogger("foldmon")

_STRANGE = 100  # steps of other optimizers since the last step of the model's own that are worth a word
_FIRST, _NEXT = 10.0, 60.0  # seconds until it is looked whether the weights move without a step
_SURE = 2.0  # seconds in which the step that has moved them would be seen
_WAY_OUT = (
    "watch the model that is trained, pass its optimizer=, or call monitor.step() after each training step"
)


class Silence:
    """Notices where training goes past a monitor, from what can be seen without a hook on the model.

    Args:
        watched: the model.

    Example:
        >>> silence = Silence(Watched(nn.Linear(2, 2)))
        >>> silence.stepped(); silence.ended()  # nothing to say
    """

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._strange, self._steps = 0, 0
        self._told = self._moved = False
        self._before = _mark(watched)
        self._timer: threading.Timer | None = None
        self._look_again_in(_FIRST)

    def stepped(self) -> None:
        """A step of the model, or a look at it by hand: nothing is silent."""
        self._strange = 0
        self._steps += 1
        self.close()

    def stranger_stepped(self) -> None:
        """A step of an optimizer that owns none of the model's parameters."""
        self._strange += 1
        if self._strange >= max(_STRANGE, self._steps):
            since = f"since its step {self._steps}" if self._steps else "and none of its own"
            self._say(
                f"{self._strange} steps of optimizers that own none of its parameters were seen {since}"
            )

    def ended(self) -> None:
        """Training has ended."""
        if not self._steps:
            self._told = False
            gone = "; it no longer exists" if self._watched.gone else ""
            self._say(f"not one training step was seen until the end{gone}")

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _say(self, what: str) -> None:
        if not self._told:
            self._told = True
            logger.warning("foldmon: of the watched %s, %s: %s", self._watched.name, what, _WAY_OUT)

    def _look_again_in(self, seconds: float) -> None:
        if self._before is not None:
            reference = weakref.WeakMethod(self._look)
            self._timer = threading.Timer(seconds, lambda: (look := reference()) and look())
            self._timer.daemon = True
            self._timer.start()

    def _look(self) -> None:
        if self._steps or self._timer is None:
            return
        if self._moved:
            self._say("the weights change, and no training step is seen")
            return
        self._moved = _mark(self._watched) != self._before
        self._look_again_in(_SURE if self._moved else _NEXT)


def _mark(watched: Watched) -> list[str] | None:
    """A few numbers of each weight; None off the CPU or spread over ranks, where reading waits for others."""
    parts: list[str] = []
    for parameter in watched.parameters():
        if type(parameter) is not nn.Parameter or parameter.device.type != "cpu":
            return None
        parts += [str(number) for number in parameter.detach().reshape(-1)[:2].tolist()]
    return parts or None
