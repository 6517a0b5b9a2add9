"""How fast the Folding tab is: python tests/benchmarks/dashboard_load.py [probes] [layers] [runs].

Measured in a headless Chromium against a real TensorBoard process: until the page shows the first run,
until it has read all of them, a full redraw, and what follows the pointer. Medians of 15 redraws.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.views import journals
from tests.views.browser import Browser
from tests.views.server import tensorboard

_REDRAWS = 15

_REDRAW = """(() => {
  const page = window.foldmonPage, times = [];
  for (let i = 0; i < %d; i++) {
    const begun = performance.now();
    page.dirty = true;
    page.draw();
    times.push(performance.now() - begun);
  }
  return times;
})()"""

_FOLLOW = """(() => {
  const page = window.foldmonPage, steps = page.steps(), times = [];
  for (let i = 0; i < %d; i++) {
    const begun = performance.now();
    page.setCursor(steps[Math.floor((i + 0.5) / 15 * steps.length)]);
    page.draw();
    times.push(performance.now() - begun);
  }
  return times;
})()"""

_SENT = "performance.getEntriesByType('resource').reduce((sum, e) => sum + e.encodedBodySize, 0)"


def main(probes: int = 1000, layers: int = 200, runs: int = 10) -> None:
    with tempfile.TemporaryDirectory() as folder:
        logs, scratch = Path(folder) / "logs", Path(folder) / "scratch"
        size = 0
        for i in range(runs):
            records = journals.training(probes, layers, seed=i, classes=10, memorises=i % 3 == 1)
            size += journals.write(logs / f"run{i}" / "foldmon" / "journal.jsonl", records).stat().st_size
        print(f"{runs} runs x {probes:,} probes x {layers} layers: journals of {size / 1e6:.0f} MB")
        with tensorboard(logs, scratch) as server, Browser() as browser:
            before = _cpu_seconds(server.process.pid)
            for visit in ("first visit (the server reads the journals)", "second visit"):
                browser.open("about:blank")
                begun = time.perf_counter()
                browser.open(server.page)
                browser.wait_for("[...document.querySelectorAll('.phi')].some((e) => e.dataset.value)", 120)
                first = time.perf_counter() - begun
                browser.wait_for("document.documentElement.dataset.loaded", 300)
                loaded = time.perf_counter() - begun
                megabytes = browser.evaluate(_SENT) / 1e6
                cpu, before = _cpu_seconds(server.process.pid) - before, _cpu_seconds(server.process.pid)
                print(
                    f"{visit}: first run {first:.2f} s, all {loaded:.2f} s, {megabytes:.1f} MB sent, "
                    f"{cpu:.2f} s of the server's CPU"
                )
            totals = browser.evaluate("[...window.foldmonPage.runs.values()].map((run) => run.total)")
            assert totals == [probes] * runs
            for name, script in (("full redraw", _REDRAW), ("following the pointer", _FOLLOW)):
                times = browser.evaluate(script % _REDRAWS)
                middle, low, high = statistics.median(times), min(times), max(times)
                print(f"{name}: median {middle:.0f} ms, {low:.0f} to {high:.0f} ms")
            begun = time.perf_counter()
            server.get(f"/data/plugin/foldmon/data?run=run0%2Ffoldmon&version=0&stable={probes}")
            print(f"poll of one run without news: {1e3 * (time.perf_counter() - begun):.0f} ms")
            memory = Path(f"/proc/{server.process.pid}/status")
            if memory.exists():
                peak = next(line for line in memory.read_text().splitlines() if line.startswith("VmHWM"))
                print(f"TensorBoard's peak memory: {int(peak.split()[1]) / 1024:.0f} MB")


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process; NaN where there is no /proc."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return float("nan")
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
