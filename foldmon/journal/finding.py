"""Finding the journals under a folder."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

logger = logging.getLogger("foldmon")

JOURNAL = "journal.jsonl"
SUBRUN = "foldmon"


def local(path: str | os.PathLike[str]) -> Path:
    """A folder of this machine, which stays the same when the working folder changes; ``~`` is the home."""
    path = Path(path).expanduser()
    try:
        return path.absolute()
    except FileNotFoundError:  # the working folder itself is gone
        elsewhere = Path(tempfile.gettempdir()) / path
        logger.warning("foldmon: the working folder no longer exists; values go to %s", elsewhere)
        return elsewhere


def run_folder() -> Path:
    """A new run's folder, where none is given: ``runs/foldmon-<time>``."""
    base = local("runs") / time.strftime("foldmon-%Y%m%d-%H%M%S")
    # Two runs that begin in the same second are still two runs.
    names = (base if n == 0 else base.with_name(f"{base.name}-{n}") for n in range(1000))
    return next(path for path in names if not path.exists())


def find_journals(logdir: str | os.PathLike[str]) -> Iterator[tuple[str, Path]]:
    """Run names, as TensorBoard has them, with their journals, in order of the names.

    A run's name is the journal's folder seen from ``logdir``. Links are not followed, so that nothing
    outside of ``logdir`` is ever read.

    Example:
        >>> import tempfile, pathlib
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> (root / "a" / "foldmon").mkdir(parents=True)
        >>> _ = (root / "a" / "foldmon" / "journal.jsonl").write_text("")
        >>> [name for name, _ in find_journals(root)]
        ['a/foldmon']
    """
    for folder, subfolders, files in os.walk(logdir):
        subfolders.sort()
        path = Path(folder) / JOURNAL
        if JOURNAL in files and not path.is_symlink():
            yield Path(folder).relative_to(logdir).as_posix(), path


def label_of(name: str, logdir: str | os.PathLike[str]) -> str:
    """What to call a run: its name without foldmon's own folder; the logdir's name where that leaves nothing.

    Example:
        >>> label_of("a/foldmon", "runs"), label_of("foldmon", "runs")
        ('a', 'runs')
    """
    parts = [part for part in name.split("/") if part != "."]
    if parts and parts[-1] == SUBRUN:
        parts.pop()
    return "/".join(parts) or Path(logdir).resolve().name


def places_beside(journal: Path) -> Iterator[Path]:
    """Where the journals of further monitors go: folders of their own, so that views see a run in each.

    Example:
        >>> places = places_beside(Path("run/foldmon/journal.jsonl"))
        >>> [next(places).as_posix() for _ in range(2)]
        ['run/foldmon-2/journal.jsonl', 'run/foldmon-3/journal.jsonl']
        >>> next(places_beside(Path("mine.jsonl"))).as_posix()
        'mine-2.jsonl'
    """
    for number in count(2):
        if journal.name == JOURNAL:
            yield journal.parent.with_name(f"{journal.parent.name}-{number}") / JOURNAL
        else:
            yield journal.with_stem(f"{journal.stem}-{number}")


def journal_of(path: str | os.PathLike[str]) -> Path:
    """The journal that a path means: itself, or the one in the folder.

    Raises:
        FileNotFoundError: there is none.
    """
    given = Path(path)
    for candidate in (given, given / JOURNAL, given / SUBRUN / JOURNAL):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"no journal at {given}: give a journal.jsonl, or the log_dir of a run that foldmon.watch follows"
    )
