"""The Folding tab in a real TensorBoard and the report, as a headless Chromium shows them."""

import json
import time
from bisect import bisect_right

import pytest

from foldmon.commands.demo import run as run_demo
from foldmon.exporters.tensorboard import TensorBoardExporter
from foldmon.journal.following import read_journal
from foldmon.journal.resuming import probes_of
from foldmon.views.page import write_report
from tests.views import journals
from tests.views.browser import CHROMIUM, Browser
from tests.views.server import tensorboard

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: no chromium or google-chrome on the PATH"),
]

_LOADED = "document.documentElement?.dataset.loaded"
_FRAME = "document.querySelector('iframe')?.contentDocument"
_HEADLINES = """Object.fromEntries([...document.querySelectorAll('.run')].map((card) => [card.dataset.run,
  ['.phi', '.step'].map((name) => card.querySelector(name)?.dataset.value ?? null)]))"""


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Records of the runs by TensorBoard's names, under a logdir: invented ones and those of the demo."""
    root = tmp_path_factory.mktemp("logs")
    made = {
        "clean/foldmon": journals.training(60, 12, seed=1),
        "noisy/foldmon": journals.training(60, 12, seed=2, memorises=True),
        "<img src=x onerror=alert(1)>/foldmon": journals.training(20, 5, seed=3, exact=True),
        "new/foldmon": [journals.start(4)],
        "shares/foldmon": journals.rotating(100),
    }
    for name, records in made.items():
        journals.write(root / name / "journal.jsonl", records)
    run_demo(root / "demo", epochs=2, mlflow=False, quiet=True)
    demo = list((root / "demo").glob("*/*/foldmon/journal.jsonl"))
    assert len(demo) == 2
    for path in demo:
        # The demo's last probe repeats a step; the later one counts.
        made[path.parent.relative_to(root).as_posix()] = [journals.start(), *probes_of(read_journal(path))]
    (root / "empty" / "foldmon").mkdir(parents=True)
    (root / "empty" / "foldmon" / "journal.jsonl").write_text("")
    return root, made


@pytest.fixture(scope="module")
def server(runs, tmp_path_factory):
    with tensorboard(runs[0], tmp_path_factory.mktemp("tensorboard"), "--load_fast=false") as server:
        yield server


@pytest.fixture
def page(browser, server):
    browser.errors.clear()
    browser.prefer("light")
    browser.resize(1440, 1000)
    browser.open("about:blank")
    browser.open(server.page)
    browser.wait_for(_LOADED)
    yield browser
    assert browser.errors == []


def _card(name):
    return f"document.querySelector('[data-run={json.dumps(name)}]')"


def _text(page, selector):
    return page.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")


def test_every_runs_headline_is_its_journals_last_probe(page, runs):
    shown = page.evaluate(_HEADLINES)
    for name, records in runs[1].items():
        phi, step = shown[name]
        if len(records) > 1:
            assert float(phi) == records[-1]["phi"]
            assert int(step) == records[-1]["step"]
        else:
            assert phi is None


def test_the_charts_hold_the_journals_numbers(page, runs):
    for name, records in runs[1].items():
        run = f"window.foldmonPage.runs.get({json.dumps(name)})"
        for column, of in (
            ("phi", lambda probe: probe["phi"]),
            ("lower", lambda probe: probe["phi_interval"][0]),
            ("upper", lambda probe: probe["phi_interval"][1]),
            ("changes", lambda probe: probe["decision"]["changes"]),
        ):
            values = page.evaluate(f"{run}.columns.{column}")
            assert values == [of(probe) for probe in records[1:]]
        for matrix in ("folding", "cumulative"):
            values = page.evaluate(f"[...{run}.{matrix}]")
            truth = [value for probe in records[1:] for value in probe[matrix]]
            assert values == pytest.approx(truth, rel=1e-6, abs=1e-9)


def test_the_table_shows_the_layers_of_the_chosen_step(page, runs):
    records = runs[1]["noisy/foldmon"]
    card = _card("noisy/foldmon")
    page.evaluate(f"{card}.querySelector('.numbers').open = true")
    page.evaluate("window.foldmonPage.choose(1000)")
    chosen = next(record for record in records if record.get("step") == 1000)
    page.wait_for("window.foldmonPage.cards.get('noisy/foldmon').probe?.seq === " + str(chosen["seq"]))
    cells = f"[...{card}.querySelectorAll('td.folding')].map((cell) => Number(cell.dataset.value))"
    assert page.evaluate(cells) == chosen["folding"]
    assert page.evaluate(f"{card}.querySelector('.step').dataset.value") == "1000"
    matrix = page.evaluate("window.foldmonPage.cards.get('noisy/foldmon').probe.class_matrix")
    assert matrix[0][1] == chosen["class_matrix"][0][1]
    assert matrix[0][0] is None


def test_hovering_gives_values_and_the_warnings_reasons(page, runs):
    chart = "window.foldmonPage.charts[0]"
    warning = next(r for r in runs[1]["noisy/foldmon"][1:] if r["warning"]["event"])
    box = page.evaluate(f"{chart}.plot.getBoundingClientRect().toJSON()")
    x = page.evaluate(f"{chart}.layout().x({warning['step']})")
    page.move(box["left"] + x, box["top"] + 100)
    page.wait_for("!document.querySelector('.tooltip').hidden")
    text = _text(page, ".tooltip")
    assert f"step {warning['step']:,}" in text
    assert f"{warning['phi']:.4f}" in text
    assert warning["warning"]["event"]["reasons"][0] in text
    page.move(1, 1)
    page.wait_for("document.querySelector('.tooltip').hidden")


def test_what_became_of_the_held_out_scores_stands_beside_folding(page, runs):
    records = runs[1]["noisy/foldmon"][1:]
    charts = {name: f"document.querySelector('[data-chart={name}]')" for name in ("phi", "heldout_accuracy")}
    boxes = [page.evaluate(f"{chart}.getBoundingClientRect().toJSON()") for chart in charts.values()]
    assert boxes[0]["top"] == boxes[1]["top"], "side by side"
    assert boxes[0]["right"] <= boxes[1]["left"]
    assert abs(boxes[0]["width"] - boxes[1]["width"]) < 2
    noisy = 'window.foldmonPage.runs.get("noisy/foldmon")'
    for column, key in (("heldout_accuracy", "accuracy"), ("heldout_loss", "loss")):
        assert page.evaluate(f"{noisy}.columns.{column}") == [r["held_out"][key] for r in records]
    assert page.evaluate(f"{noisy}.columns.score") == [r["warning"]["score"] for r in records]
    page.evaluate("window.foldmonPage.setCursor(2000); window.foldmonPage.charts[1].tell()")
    chosen = next(r for r in records if r["step"] == 2000)["held_out"]
    low, high = chosen["accuracy_interval"]
    assert f"{chosen['accuracy']:.1%}  [{low:.1%}, {high:.1%}]" in _text(page, ".tooltip")


def test_the_warnings_sentence_is_the_first_thing_to_read(page, runs):
    warning = next(r for r in runs[1]["noisy/foldmon"][1:] if r["warning"]["event"])["warning"]["event"]
    assert page.evaluate("[...document.querySelectorAll('.alerts .sentence')].map((s) => s.textContent)") == [
        warning["reasons"][0]
    ]
    assert f"step {warning['step']:,}" in _text(page, ".alerts")
    top = "getBoundingClientRect().top"
    assert page.evaluate(
        f"document.querySelector('.alerts').{top} < document.querySelector('.overview').{top}"
    )
    page.evaluate("window.foldmonPage.toggle('noisy/foldmon', false)")
    page.wait_for("document.querySelector('.alerts').hidden")
    page.evaluate("window.foldmonPage.toggle('noisy/foldmon', false)")


def test_scores_of_the_users_own_are_drawn_where_nothing_was_measured(browser, tmp_path):
    """Without labels what the user logs stands in their place; what no run has takes no room."""
    browser.errors.clear()
    records = [r | {"held_out": None} for r in journals.training(30, 3)]
    for i, record in enumerate(records[1:]):
        record["logged"] = {"loss": 0.1, "val_acc": 50.0 + i} if i % 3 == 0 else {}
    journals.write(tmp_path / "run" / "journal.jsonl", records)
    page, *_ = write_report([tmp_path / "run"], tmp_path / "report.html")
    browser.open(page.as_uri())
    browser.wait_for(_LOADED)
    browser.wait_for("!document.querySelector('[data-chart=heldout_accuracy]').hidden")
    own = "[...window.foldmonPage.runs.values()][0].columns.user_accuracy"
    assert browser.evaluate(own) == [(50.0 + i) / 100 if i % 3 == 0 else None for i in range(30)]
    assert "your val_acc" in browser.evaluate(
        "document.querySelector('[data-chart=heldout_accuracy]').textContent"
    )
    assert browser.evaluate("document.querySelector('[data-chart=heldout_loss]').hidden")
    assert browser.errors == []


def test_how_many_pairs_stand_behind_a_point_is_told(page):
    card, own = _card("shares/foldmon"), "window.foldmonPage.cards.get('shares/foldmon')"
    assert (
        page.evaluate(f"{card}.querySelector('.headline').textContent")
        .split("held-out")[0]
        .endswith("1,099, all 64 pairs")
    )
    page.evaluate("window.foldmonPage.charts[0].plot.focus()")
    page.evaluate("window.foldmonPage.setCursor(0); window.foldmonPage.charts[0].tell()")
    text = _text(page, ".tooltip")
    assert "shares, 5 of 64 pairs" in text
    assert "clean, all 64 pairs" not in text  # an older journal does not say
    page.wait_for(f"{card}.querySelector('.headline').textContent.includes('at step 0, 5 of 64 pairs')")
    page.wait_for(f"{own}.probe?.seq === 1")
    page.evaluate(f"{card}.querySelector('.numbers').open = true")
    page.wait_for(f"{card}.querySelector('.numbers').textContent.includes('5 of 64 pairs measured')")
    page.evaluate(f"{own}.matrix.tell(0, 0)")
    assert "mean folding, latest of each pair" in _text(page, ".tooltip")
    page.evaluate(f"{own}.heat.layer = 0; {own}.heat.tell()")
    assert "measured5 of 64 pairs" in _text(page, ".tooltip")


def test_a_high_beginning_leaves_the_scale_and_the_rest_is_seen(page):
    chart = "window.foldmonPage.charts[0]"
    assert page.evaluate(f"{chart}.top") < 0.2
    assert page.evaluate("window.foldmonPage.top") < 0.2
    assert "≥" in page.evaluate("document.querySelector('.scale').textContent")
    page.evaluate("window.foldmonPage.setLogarithmic(true)")
    page.wait_for(f"{chart}.top > 0.5 && {chart}.top < 0.6")
    page.wait_for("!document.querySelector('.scale').textContent.includes('≥')")


def test_a_column_of_the_heat_map_reaches_to_the_next_probe(page, runs):
    """Steps of a growing interval, linear and logarithmic: every pixel shows the probe that holds there."""
    records = runs[1]["shares/foldmon"][1:]
    steps = [record["step"] for record in records]
    page.evaluate(f"{_card('shares/foldmon')}.scrollIntoView()")
    for logarithmic in ("false", "true"):
        page.evaluate(f"window.foldmonPage.setLogarithmic({logarithmic})")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        shown = page.evaluate("""(() => {
          const page = window.foldmonPage, heat = page.cards.get('shares/foldmon').heat, at = heat.layout();
          const ctx = heat.base.canvas.getContext('2d'), y = at.box.y0 + 3;
          const pixel = (x) => [...ctx.getImageData(x, y, 1, 1).data.slice(0, 3)].join();
          const xs = Array.from({ length: 150 }, (_, i) => Math.round(at.box.x0) + 3 * i);
          return xs.map((x) => [at.steps.at(x + 0.5), pixel(x)]);
        })()""")
        seen = {}
        for step, colour in shown:
            if step <= steps[-1]:
                seen.setdefault(bisect_right(steps, step) - 1, set()).add(colour)
        assert len(seen) > 20
        assert all(len(colours) == 1 for colours in seen.values())


def test_the_steps_may_be_logarithmic(page):
    page.evaluate(
        "[...document.querySelectorAll('button')].find((b) => b.textContent === 'Log steps').click()"
    )
    page.wait_for("window.foldmonPage.logarithmic")
    x = [page.evaluate(f"window.foldmonPage.axis(0, 300).x({step})") for step in (0, 9, 99, 2950)]
    assert x[0] == 0
    assert x[2] - x[1] == pytest.approx(x[1], rel=1e-6)
    assert x[3] == pytest.approx(300)
    assert page.evaluate("window.foldmonPage.axis(40, 300).at(window.foldmonPage.axis(40, 300).x(123))") == (
        pytest.approx(123)
    )
    assert page.evaluate("window.foldmonPage.axis(0, 600).ticks()") == [0, 1, 10, 100, 1000]


def test_everything_is_within_reach_of_the_keyboard(page, runs):
    records = runs[1]["noisy/foldmon"]
    page.evaluate("window.foldmonPage.charts[0].plot.focus()")
    page.key("End")
    page.key("ArrowLeft")
    page.wait_for(f"window.foldmonPage.cursor === {records[-2]['step']}")
    assert f"step {records[-2]['step']:,}" in _text(page, ".tooltip")
    page.key("Enter")
    page.wait_for(f"window.foldmonPage.chosen === {records[-2]['step']}")
    page.key("Escape")
    page.key("Escape")
    page.wait_for("window.foldmonPage.chosen === null")
    page.evaluate(f"{_card('noisy/foldmon')}.querySelector('.heat').focus()")
    page.key("ArrowDown")
    page.key("ArrowDown")
    assert records[-1]["layers"][1] in _text(page, ".tooltip")
    reached = page.evaluate("[...document.querySelectorAll('.plot')].every((plot) => plot.tabIndex === 0)")
    assert reached


def test_runs_that_have_nothing_to_show_say_why(page):
    assert "No probe yet" in page.evaluate(f"{_card('new/foldmon')}.textContent")
    assert "has not written its first line" in page.evaluate(f"{_card('empty/foldmon')}.textContent")


def test_names_are_text_never_markup(page):
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert "<img src=x" in page.evaluate("document.body.textContent")


def test_it_follows_the_training_by_itself(page, runs):
    root, made = runs
    records = made["new/foldmon"]
    records += journals.training(3, 4)[1:]
    journals.write(root / "new" / "foldmon" / "journal.jsonl", records)
    page.wait_for(
        f"{_card('new/foldmon')}.querySelector('.phi')?.dataset.value === '{records[-1]['phi']}'", 30
    )


def test_a_dark_system_gets_a_dark_page(page):
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.prefer("dark")
    page.wait_for("document.documentElement.dataset.theme === 'dark'")
    assert page.evaluate(background) != light


def test_in_tensorboard_the_tab_opens_and_follows_its_dark_mode(browser, server):
    browser.errors.clear()
    browser.prefer("light")
    browser.open(f"{server.url}/?darkMode=true#foldmon")
    browser.wait_for(f"{_FRAME}?.querySelector('.phi')?.dataset.value")
    assert "FOLDING" in browser.evaluate("document.body.innerText.toUpperCase()")
    dark = browser.evaluate("document.body.classList.contains('dark-mode')")
    assert browser.evaluate(f"{_FRAME}.documentElement.dataset.theme") == ("dark" if dark else "light")
    browser.evaluate("document.body.classList.toggle('dark-mode')")
    browser.wait_for(f"{_FRAME}.documentElement.dataset.theme === '{'light' if dark else 'dark'}'")


def test_the_runs_have_the_colours_of_tensorboards_scalars(browser, tmp_path):
    root = tmp_path / "logs"
    for i, name in enumerate(["c", "a", "d", "b"]):
        records = journals.training(3, 3, seed=i)
        for record in records:
            record["time_ms"] += 1000 * i  # TensorBoard orders runs by their beginning
        journals.write(root / name / "foldmon" / "journal.jsonl", records)
        exporter = TensorBoardExporter(root / name)
        exporter.write(records[1:])
        exporter.close()
    with tensorboard(root, tmp_path / "tensorboard", "--load_fast=true", prefix="/board") as server:
        until = time.monotonic() + 30
        while len(server.get("/data/runs")) < 4 and time.monotonic() < until:
            time.sleep(0.1)
        browser.open(f"{server.url}/#scalars")
        browser.wait_for("!!document.querySelector('tf-scalar-dashboard')")
        theirs = "document.createElement('tf-color-scale').runsColorScale"
        names = [f"{name}/foldmon" for name in "abcd"]
        colours = f"Object.fromEntries({json.dumps(names)}.map((name) => [name, {theirs}(name)]))"
        expected = browser.wait_for(f"(() => {{ try {{ return {colours}; }} catch {{ return null; }} }})()")
        assert len(set(expected.values())) == 4
        browser.open(f"{server.url}/#foldmon")
        mine = f"Object.fromEntries({_FRAME}?.defaultView.foldmonPage?.colours ?? [])"
        browser.wait_for(f"Object.keys({mine}).length === 4")
        assert browser.evaluate(mine) == expected


def test_the_report_shows_the_same_numbers(browser, runs, tmp_path):
    browser.errors.clear()
    root, made = runs
    names = ["clean/foldmon", "noisy/foldmon"]
    page, *_ = write_report([root / name for name in names], tmp_path / "report.html")
    browser.open(page.as_uri())
    browser.wait_for(_LOADED)
    shown = browser.evaluate(_HEADLINES)
    for place, name in enumerate(names):
        phi, step = shown[str(place)]
        assert float(phi) == made[name][-1]["phi"]
        assert int(step) == made[name][-1]["step"]
    assert browser.errors == []
