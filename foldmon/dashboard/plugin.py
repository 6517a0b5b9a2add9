"""The TensorBoard plugin: where the Folding tab gets its page and its data."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorboard.plugins import base_plugin

if TYPE_CHECKING:
    from werkzeug import Request, Response

logger = logging.getLogger("foldmon")

_STATIC = Path(__file__).parent / "static"


class FoldingLoader(base_plugin.TBLoader):  # type: ignore[misc]
    """What the entry point names. An error in here would keep TensorBoard from starting at all."""

    def load(self, context: base_plugin.TBContext) -> base_plugin.TBPlugin | None:
        """The plugin; None, with a line in the log, where it cannot be made."""
        try:
            return FoldingPlugin(context)
        except Exception as error:
            logger.warning("foldmon: no Folding tab: %s: %s", type(error).__name__, error)
            return None


class FoldingPlugin(base_plugin.TBPlugin):  # type: ignore[misc]
    """Serves the page and, from the journals under the logdir, its data.

    It reads the journals itself: they hold full doubles, and neither of TensorBoard's loaders (fast or
    slow) thins them. Run names from outside are only ever looked up among the journals that were found.
    """

    plugin_name = "foldmon"

    def __init__(self, context: base_plugin.TBContext) -> None:
        self._logdir: str = context.logdir or ""
        self._runs: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._found = False

    def is_active(self) -> bool:
        """Whether there is any journal under the logdir."""
        from foldmon.dashboard.find import find_journals

        self._found = self._found or next(iter(self._find(find_journals)), None) is not None
        return self._found

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

    def _find(self, finder: Any) -> Any:
        return finder(self._logdir) if self._logdir else ()

    def _serve_runs(self, request: Request) -> Response:
        """Names and labels of the runs, and where they were looked for."""
        from foldmon.dashboard.find import find_journals, label_of
        from foldmon.dashboard.runs import Run

        with self._lock:
            found = dict(self._find(find_journals))
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
        from foldmon.dashboard.details import details

        run = self._run(request)
        seq = request.args.get("seq", -1, type=int)
        try:
            record = None if run is None else run.probe(seq)
        except OSError as error:
            return _missing(request, str(error.strerror or error))
        return _missing(request, "no such probe") if record is None else _json(request, details(record))

    def _run(self, request: Request) -> Any:
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
