"""The TensorBoard plugin: where the Folding tab gets its page and its data."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorboard.plugins import base_plugin

from foldmon.journal.finding import JOURNAL, find_journals, label_of
from foldmon.views.run.details import details
from foldmon.views.run.reading import Run

if TYPE_CHECKING:
    from werkzeug import Request, Response

_STATIC = Path(__file__).parents[1] / "static"
# Seconds between two looks through the logdir, and of one look.
_EVERY, _LONGEST = 60.0, 0.5


class FoldingPlugin(base_plugin.TBPlugin):  # type: ignore[misc]
    """Serves the page and, from the journals under the logdir, its data.

    It reads the journals itself: they hold full doubles, and neither of TensorBoard's loaders (fast or
    slow) thins them. Run names from outside are only ever looked up among the journals that were found.
    """

    plugin_name = "foldmon"

    def __init__(self, context: base_plugin.TBContext) -> None:
        self._logdir: str = os.path.expanduser(context.logdir or "")
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()
        self._found = False
        self._walk = os.walk(self._logdir)
        self._next_look = 0.0

    def is_active(self) -> bool:
        """Whether there is any journal under the logdir.

        TensorBoard asks at every reload, but only where no event carries the plugin's name; those that the
        exporter writes do. So the logdir, huge or remote as it may be, is looked through once a minute, half
        a second at a time, for the sake of runs that have a journal and no event.
        """
        with self._lock:
            now = time.monotonic()
            if not self._found and now >= self._next_look:
                self._next_look = now + _EVERY
                self._found = self._look(now + _LONGEST)
            return self._found

    def _look(self, until: float) -> bool:
        """Go on through the folders; True at the first journal, False where time or folders have run out."""
        for folder, _, files in self._walk:
            if JOURNAL in files and not os.path.islink(os.path.join(folder, JOURNAL)):
                return True
            if time.monotonic() >= until:
                return False  # the next look goes on here
        self._walk = os.walk(self._logdir)
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """The tab's name and its script."""
        return base_plugin.FrontendMetadata(
            es_module_path="/index.js", tab_name="Folding", disable_reload=True
        )

    def get_plugin_apps(self) -> dict[str, Any]:
        """Routes below ``data/plugin/foldmon``."""
        from werkzeug import wrappers

        routes = {"/runs": self._serve_runs, "/data": self._serve_data, "/probe": self._serve_probe}
        scripts = {f"/{path.name}": _static_file(path) for path in sorted(_STATIC.glob("*.js"))}
        return {
            route: wrappers.Request.application(answer) for route, answer in {**routes, **scripts}.items()
        }

    def _journals(self) -> Iterator[tuple[str, Path]]:
        # Without a folder (--logdir_spec) there is nothing to look through; "" would mean all from here on.
        return find_journals(self._logdir) if self._logdir else iter(())

    def _serve_runs(self, request: Request) -> Response:
        """Names and labels of the runs, and where they were looked for."""
        with self._lock:
            found = dict(self._journals())
            self._found = self._found or bool(found)
            self._runs = {
                name: self._runs.get(name) or Run(path, name, label_of(name, self._logdir))
                for name, path in found.items()
            }
            runs = [{"name": run.name, "label": run.label} for run in self._runs.values()]
        return _json(request, {"logdir": self._logdir, "runs": runs})

    def _serve_data(self, request: Request) -> Response:
        """The rows of ``run`` that the page lacks; not ``complete`` where it should ask again at once."""
        run = self._run(request)
        if run is None:
            return _missing(request, "no such run")
        complete = run.refresh(seconds=0.5)
        version = request.args.get("version", -1, type=int)
        stable = request.args.get("stable", 0, type=int)
        return _json(request, run.payload(version, max(stable, 0), complete=complete))

    def _serve_probe(self, request: Request) -> Response:
        """The whole record of one probe."""
        run = self._run(request)
        seq = request.args.get("seq", -1, type=int)
        try:
            record = None if run is None else run.probe(seq)
        except OSError as error:
            return _missing(request, str(error.strerror or error))
        return _missing(request, "no such probe") if record is None else _json(request, details(record))

    def _run(self, request: Request) -> Run | None:
        with self._lock:
            return self._runs.get(request.args.get("run", ""))


def _static_file(path: Path) -> Any:
    def serve(request: Request) -> Response:
        from tensorboard.backend import http_util

        answer: Response = http_util.Respond(request, path.read_text("utf-8"), "text/javascript")
        return answer

    return serve


def _json(request: Request, value: Any, code: int = 200) -> Response:
    from tensorboard.backend import http_util

    text = json.dumps(value, allow_nan=False)
    answer: Response = http_util.Respond(request, text, "application/json", code=code)
    return answer


def _missing(request: Request, why: str) -> Response:
    return _json(request, {"error": why}, code=404)
