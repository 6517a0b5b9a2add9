"""Which threads are at work beside this one."""

from __future__ import annotations

import sys
import threading
from types import FrameType

# Threads that run nothing but these wait, write or send: they draw no random numbers and change no model.
_IDLE = sys.stdlib_module_names | {
    *("foldmon", "tqdm", "tensorboard", "wandb", "mlflow", "execnet", "xdist", "pytest_timeout", "debugpy"),
    *("ipykernel", "IPython", "zmq", "tornado", "traitlets", "pydevd", "_pydevd_bundle"),
}
_OF_LOADERS = "torch.utils.data._utils."  # its thread that pins memory


def other_threads() -> bool:
    """Whether threads other than this one run code that may train, feed a training or step an optimizer.

    Example:
        >>> import threading
        >>> from foldmon.folding.undisturbed.threads import other_threads
        >>> other_threads() and threading.active_count() == 1
        False
    """
    own = threading.get_ident()
    return any(number != own and _is_at_work(frame) for number, frame in sys._current_frames().items())


def _is_at_work(frame: FrameType | None) -> bool:
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] not in _IDLE and not name.startswith(_OF_LOADERS):
            return True
        frame = frame.f_back
    return False
