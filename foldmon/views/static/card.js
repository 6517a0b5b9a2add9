// Everything of one run: what was measured, its warnings, and its three pictures.

import { el, setText } from "./dom.js";
import { duration, fold, int, num, percent, plural, points } from "./format.js";
import { HeatMap } from "./heatmap.js";
import { Matrix } from "./matrix.js";
import { Profile } from "./profile.js";

// A run without an end that wrote nothing for this long may have been killed.
const SILENT_MS = 30 * 60 * 1000;

export class Card {
  constructor(page, run) {
    this.page = page;
    this.run = run;
    this.heat = new HeatMap(page, run);
    this.profile = new Profile(page, run);
    this.matrix = new Matrix(page, run);
    this.probe = null;
    this.asked = null;
    this.name = el("h2", {}, el("i", { class: "swatch" }), el("span", {}));
    this.headline = el("p", { class: "headline", "aria-live": "off" });
    this.state = el("span", { class: "state" });
    this.facts = el("ul", { class: "facts" });
    this.problems = el("ul", { class: "problems" });
    this.warnings = el("ul", { class: "warnings" });
    this.matrixTitle = el("h3", {}, "Class pairs");
    this.heatTitle = el("h3", {});
    this.numbers = el("details", { class: "numbers" }, el("summary", {}, "Numbers"), el("div", { class: "scroll" }));
    this.numbers.addEventListener("toggle", () => this.table());
    this.coverage = el("details", { class: "numbers" }, el("summary", {}, "Coverage"), el("div", {}));
    this.panels = el(
      "div",
      { class: "panels" },
      el("div", { class: "panel wide" }, this.heatTitle, this.heat.node),
      el("div", { class: "panel" }, el("h3", {}, "Depth profile, input at the top"), this.profile.node),
      el("div", { class: "panel" }, this.matrixTitle, this.matrix.node),
    );
    this.node = el(
      "section",
      { class: "card run", "data-run": run.name },
      el("header", {}, this.name, this.headline, this.state),
      this.facts,
      this.problems,
      this.warnings,
      this.panels,
      el("div", { class: "more" }, this.numbers, this.coverage),
    );
  }

  draw() {
    const { run, page } = this;
    this.node.style.setProperty("--run", page.colour(run));
    setText(this.name.lastChild, run.label);
    const row = page.rowOf(run);
    this.describe(row);
    this.panels.hidden = this.numbers.hidden = !run.count;
    this.coverage.hidden = !run.start;
    if (!run.count) return;
    setText(this.heatTitle, page.measure === "folding" ? "Folding, layer × step" : "Cumulative folding, layer × step");
    this.heat.draw();
    this.follow(row);
  }

  /** What depends on the chosen step only. */
  follow(row = this.page.rowOf(this.run)) {
    if (!this.run.count) return;
    this.profile.draw();
    this.headlineAt(row);
    this.ask(row);
  }

  headlineAt(row) {
    const { run } = this;
    this.headline.hidden = row < 0;
    if (row < 0) return;
    const [phi, low, high] = ["phi", "lower", "upper"].map((name) => run.value(name, row));
    const key = `${run.steps[row]}|${phi}|${low}|${high}`;
    if (this.said === key) return;
    this.said = key;
    this.headline.replaceChildren(
      el("span", { class: "symbol" }, "φ"),
      el("b", { class: "phi", "data-value": phi }, fold(phi)),
      low === null ? "" : el("span", { class: "interval", "data-low": low, "data-high": high }, ` [${fold(low)}, ${fold(high)}]`),
      el("span", { class: "at" }, " at step ", el("b", { class: "step", "data-value": run.steps[row] }, int(run.steps[row]))),
      el("span", { class: "at" }, run.pairs(row) ? `, ${run.pairs(row)}` : ""),
      ...this.scores(row),
    );
  }

  /** The held-out scores beside phi, as far as they are known. */
  scores(row) {
    const { run } = this;
    const score = (column, text, format) => {
      const value = run.value(column, row);
      if (value === null) return null;
      return el("span", { class: "score" }, `${text} `, el("b", { class: column, "data-value": value }, format(value)));
    };
    return [score("heldout_accuracy", "held-out accuracy", points), score("heldout_loss", "loss", fold)].filter((node) => node !== null);
  }

  describe(row) {
    const { run } = this;
    setText(this.state, this.stateText());
    this.state.dataset.state = run.state;
    fill(this.facts, this.factList(row));
    fill(this.problems, run.problems);
    fill(
      this.warnings,
      run.warnings.map(({ severity, step, reasons }) => `${severity > 1 ? "Alarm" : "Warning"} at step ${int(step)}: ${reasons.join(" ")}`),
    );
    this.warnings.querySelectorAll("li").forEach((item, i) => {
      item.dataset.severity = run.warnings[i].severity;
    });
    if (run.start) this.cover(run.start);
  }

  stateText() {
    const { run } = this;
    if (!run.complete) return "reading";
    if (run.state !== "running") return run.state;
    if (!this.page.source.live) return "no end in the journal";
    const silence = Date.now() - run.lastMs;
    return silence > SILENT_MS ? `no probe for ${duration(silence)}` : `running, last probe ${duration(silence)} ago`;
  }

  factList(row) {
    const { run } = this;
    const facts = [];
    if (row >= 0) {
      const points = run.start?.points;
      facts.push(run.value("exact", row) ? "exact" : points ? `sampled, ${points} points a path` : "sampled");
      facts.push(`${plural(run.total, "probe")}${run.stride > 1 ? `, 1 in ${run.stride} shown` : ""}`);
    }
    if (run.start) {
      const sites = Object.values(run.start.sites);
      const missing = Object.keys(run.start.not_covered).length;
      const units = int(sites.reduce((sum, value) => sum + value, 0));
      if (sites.length) facts.push(`${plural(sites.length, "layer")}, ${units} units${missing ? `; ${missing} not covered` : ""}`);
    }
    if (row >= 0 && run.value("heldout_loss", row) === null && run.value("heldout_accuracy", row) === null) {
      facts.push("held-out loss and accuracy unknown (no labels, or no loss for them)");
    }
    if (row >= 0) {
      const seconds = run.value("cost_seconds", row);
      const share = `${percent(run.value("overhead", row))} of training time`;
      facts.push(seconds === null ? `cost ${share}` : `cost ${num(Number(seconds.toPrecision(2)))} s, ${share}`);
      const skipped = run.value("skipped", row);
      if (skipped) facts.push(`${plural(skipped, "probe")} skipped`);
    }
    return facts;
  }

  cover(start) {
    const key = JSON.stringify(start);
    if (this.covered === key) return;
    this.covered = key;
    const entry = (name, text) => el("li", {}, el("b", {}, name), ` ${text}`);
    const list = [
      ...Object.entries(start.not_covered).map(([name, why]) => entry(name, `not covered: ${why}`)),
      ...Object.entries(start.kinks).map(([name, what]) => entry(name, `bends without units of its own: ${what}`)),
      ...start.notes.map((note) => el("li", {}, note)),
      ...Object.entries(start.sites).map(([name, units]) => entry(name, plural(units, "unit"))),
    ];
    const body = el("ul", { class: "coverage" }, ...list);
    this.coverage.lastChild.replaceChildren(start.model ? el("p", {}, start.model) : "", body);
  }

  /** Fetch the details of a probe, one request at a time, the latest wish winning. */
  async ask(row) {
    const seq = this.run.value("seq", row);
    this.wanted = seq;
    if (this.probe && this.asked === seq) return this.details();
    if (this.busy) return undefined;
    this.busy = true;
    try {
      while (this.asked !== this.wanted) {
        const next = this.wanted;
        this.probe = await this.page.source.probe(this.run.name, next);
        this.asked = next;
      }
    } catch {
      this.asked = null; // gone, or no answer: the next draw asks again
    } finally {
      this.busy = false;
    }
    return this.details();
  }

  details() {
    if (!this.probe) return;
    const row = this.run.columns.seq.indexOf(this.probe.seq);
    const other = this.probe.seq !== this.wanted && row >= 0 ? `, step ${int(this.run.steps[row])}` : "";
    const shared = row >= 0 && this.run.shared(row);
    this.matrix.draw(this.probe, shared ? ", latest of each pair" : "");
    const top = this.probe.class_matrix ? `, 0 to ${fold(this.matrix.top)}` : "";
    setText(this.matrixTitle, `Class pairs${top}${other}`);
    this.table();
  }

  table() {
    const { run, probe } = this;
    if (!this.numbers.open || !probe) return;
    const best = run.best?.row;
    const heads = ["", "layer", "units", "folding", "cumulative", "at start", best === undefined ? null : "at best", "dead units", "saturated units"];
    const cell = (value, kind) => el("td", { "data-value": value, class: kind }, fold(value));
    const first = new Map(run.layers.map((name, i) => [name, i]));
    const rows = probe.layers.map((name, i) =>
      el(
        "tr",
        {},
        el("td", {}, String(i).padStart(2, "0")),
        el("th", { scope: "row" }, name),
        el("td", {}, int(probe.units[i])),
        cell(probe.folding[i], "folding"),
        cell(probe.cumulative[i], "cumulative"),
        cell(run.slice("cumulative", 0)[first.get(name)] ?? null),
        best === undefined ? null : cell(run.slice("cumulative", best)[first.get(name)] ?? null),
        el("td", {}, percent(probe.dead[i])),
        el("td", {}, percent(probe.saturated[i])),
      ),
    );
    const row = run.columns.seq.indexOf(probe.seq);
    const said = row >= 0 && run.shared(row)
      ? `${run.pairs(row)} measured at this step: folding is estimated for all, dead and saturated units are of these.`
      : "";
    const head = el("tr", {}, ...heads.filter((name) => name !== null).map((name) => el("th", { scope: "col" }, name)));
    const scrolled = this.numbers.lastChild.scrollTop;
    this.numbers.lastChild.replaceChildren(el("p", {}, said), el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)));
    this.numbers.lastChild.scrollTop = scrolled;
  }
}

function fill(list, texts) {
  list.hidden = !texts.length;
  const key = texts.join("\n");
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...texts.map((text) => el("li", {}, text)));
}
