// The page: its runs, the step under the cursor and the chosen one, and when to draw what.

import { Card } from "./card.js";
import { Controls } from "./controls.js";
import { RunData, largest, reach } from "./data.js";
import { el, setText, Tooltip } from "./dom.js";
import { int, points } from "./format.js";
import { LineChart } from "./linechart.js";
import { Steps } from "./steps.js";
import { STYLE } from "./style.js";
import { followTheme, runColours } from "./theme.js";

const POLL_MS = 5000;
// Between two drawings of a run that is still being read.
const LOADING_MS = 400;

// In order of what a reader looks for: the first two that have data are large and stand beside each other.
const CHARTS = [
  { value: "phi", lower: "lower", upper: "upper", title: "Folding φ", hint: "mean over the pairs, 95% interval", direct: true },
  {
    value: "heldout_accuracy", lower: "heldout_accuracy_lower", upper: "heldout_accuracy_upper", own: "user_accuracy",
    title: "Held-out accuracy", hint: "95% interval", fitted: true, format: points, most: 1,
  },
  {
    value: "heldout_loss", lower: "heldout_loss_lower", upper: "heldout_loss_upper", own: "user_loss",
    title: "Held-out loss", hint: "95% interval", fitted: true,
  },
  { value: "changes", title: "Decision folding", hint: "class changes a path" },
  { value: "elsewhere", title: "Third class", hint: "share of a path", format: points },
  { value: "score", title: "Warning score", hint: "a test passes at 0.5", full: 1 },
];
const LEADING = 2;
const ALERTS = 4;

export class Page {
  /** source: {live, runs(), listed(), data(name, version, stable), probe(name, seq)}. */
  constructor(root, source) {
    this.source = source;
    this.runs = new Map();
    this.hidden = new Set();
    this.cards = new Map();
    this.colours = new Map();
    this.cursor = null;
    this.chosen = null;
    this.pointed = null;
    this.drawn = 0;
    this.measure = "folding";
    this.logarithmic = false;
    this.tooltip = new Tooltip();
    this.charts = CHARTS.map((spec) => new LineChart(this, spec));
    this.build(root);
    followTheme(() => this.invalidate());
    new ResizeObserver(() => this.invalidate()).observe(root);
  }

  build(root) {
    document.head.append(el("style", {}, STYLE));
    this.controls = new Controls(this);
    this.message = el("p", { class: "message", role: "alert", hidden: true });
    this.alerts = el("ul", { class: "warnings alerts", hidden: true });
    this.overview = el("div", { class: "overview" }, ...this.charts.map((chart) => chart.node));
    this.list = el("div", { class: "runs" });
    const parts = [this.message, this.controls.node, this.alerts, this.overview, this.list];
    root.replaceChildren(el("main", { class: "foldmon" }, ...parts), this.tooltip.box);
  }

  // Data

  /** Load everything once; then, where the source lives, again and again. */
  async begin() {
    await this.load();
    if (this.source.live) setInterval(() => this.visible() && this.load(), POLL_MS);
  }

  visible() {
    return document.visibilityState === "visible" && window.innerWidth > 0;
  }

  async load() {
    if (this.loading) return;
    this.loading = true;
    try {
      const [{ runs, logdir }, listed] = [await this.source.runs(), await this.source.listed()];
      this.adopt(runs, listed);
      // Two at a time: the server reads one journal while the other's answer is on its way.
      const waiting = [...this.runs.values()];
      const reader = async () => {
        for (let run = waiting.shift(); run; run = waiting.shift()) await this.read(run);
      };
      await Promise.all([reader(), reader()]);
      this.say(runs.length ? null : nothingFound(logdir));
    } catch (error) {
      this.say(`The data does not arrive (${error.message}). Trying again every ${POLL_MS / 1000} seconds.`);
    } finally {
      this.loading = false;
      this.invalidate();
      // After the drawing that was just asked for.
      requestAnimationFrame(() => (document.documentElement.dataset.loaded = String(Math.round(performance.now()))));
    }
  }

  adopt(found, listed) {
    const names = found.map((run) => run.name);
    for (const { name, label } of found) {
      if (this.runs.has(name)) continue;
      const run = new RunData(name, label);
      this.runs.set(name, run);
      this.cards.set(name, new Card(this, run));
    }
    for (const name of [...this.runs.keys()].filter((known) => !names.includes(known))) {
      this.runs.delete(name);
      this.cards.delete(name);
    }
    this.colours = runColours(names, listed);
    const nodes = names.filter((name) => !this.hidden.has(name)).map((name) => this.cards.get(name).node);
    if (nodes.some((node, i) => this.list.children[i] !== node) || nodes.length !== this.list.children.length) {
      this.list.replaceChildren(...nodes);
    }
  }

  async read(run) {
    do {
      const payload = await this.source.data(run.name, run.version, run.stable);
      const changed = run.merge(payload);
      if (changed && (run.complete || performance.now() - this.drawn > LOADING_MS)) this.invalidate();
    } while (!run.complete || run.version === -1);
  }

  say(text) {
    this.message.hidden = text === null;
    setText(this.message, text ?? "");
  }

  // What the charts share

  shown() {
    return [...this.runs.values()].filter((run) => !this.hidden.has(run.name));
  }

  colour(run) {
    return this.colours.get(run.name) ?? "#888888";
  }

  /** How strongly to draw a run: faintly while another one's name is pointed at. */
  weight(run) {
    return this.pointed === null || this.pointed === run.name ? 1 : 0.15;
  }

  /** Bring out one run in the charts; null for all alike. */
  point(name) {
    if (this.pointed === name) return;
    this.pointed = name;
    for (const chart of this.charts) chart.draw();
  }

  /** First and last step of the shown runs. */
  domain() {
    const runs = this.shown().filter((run) => run.count);
    if (!runs.length) return [0, 1];
    return [Math.min(...runs.map((run) => run.steps[0])), Math.max(...runs.map((run) => run.steps[run.count - 1]))];
  }

  /** The steps between two pixels of a chart. */
  axis(x0, x1) {
    return new Steps(this.domain(), x0, x1, this.logarithmic);
  }

  /** The value at the dark end of every heat map. */
  scale() {
    return this.top || 1;
  }

  /** Remember a run's largest values; they change with its rows only. */
  measureTop(run) {
    if (run.topAt !== run.count + run.version * 1e6) {
      run.topAt = run.count + run.version * 1e6;
      const begin = run.settled * run.layers.length;
      const tops = (values) => ({ whole: largest(values), late: largest(values.subarray(begin)) });
      run.top = { folding: tops(run.folding), cumulative: tops(run.cumulative) };
    }
  }

  /** Where the scale of the shown runs ends, see `reach`; and the largest value. */
  topOf(measure) {
    const tops = this.shown().map((run) => run.top[measure]);
    const most = Math.max(0, ...tops.map((top) => top.whole));
    const late = Math.max(0, ...tops.map((top) => reach(top.whole, top.late)));
    return { top: (this.logarithmic ? most : late) || 1, most };
  }

  looking() {
    return this.cursor ?? this.chosen;
  }

  rowOf(run) {
    return run.rowAt(this.looking());
  }

  steps(run) {
    const runs = run ? [run] : this.shown();
    const key = runs.map((one) => `${one.name}:${one.version}:${one.count}`).join();
    if (run) return run.steps;
    if (this.stepsKey !== key) {
      this.stepsKey = key;
      this.allSteps = [...new Set(runs.flatMap((one) => one.steps))].sort((a, b) => a - b);
    }
    return this.allSteps;
  }

  nearestStep(step, run) {
    const steps = this.steps(run);
    if (!steps.length) return null;
    let [low, high] = [0, steps.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle] < step) low = middle + 1;
      else high = middle;
    }
    return low > 0 && step - steps[low - 1] < steps[low] - step ? steps[low - 1] : steps[low];
  }

  warningsNear(at) {
    return this.shown().flatMap((run) =>
      run.warnings
        .filter((warning) => Math.abs(at.x(warning.step) - at.x(this.cursor)) <= 6)
        .map((warning) => [this.colour(run), `▲ step ${int(warning.step)}: ${warning.reasons[0]}`, null]),
    );
  }

  // What the reader does

  setCursor(step) {
    if (step === null) this.tooltip.hide();
    if (this.cursor === step) return;
    this.cursor = step;
    this.moved = true;
    this.request();
  }

  choose(step) {
    this.chosen = step;
    this.moved = true;
    this.request();
  }

  /** Arrow keys, Home, End, Enter and Escape on a chart. */
  stepKey(event, chart, run) {
    const steps = this.steps(run);
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") return this.cursor === null ? this.choose(null) : this.setCursor(null);
    if (event.key === "Enter") return this.choose(this.cursor);
    if (move === undefined || !steps.length) return undefined;
    event.preventDefault();
    const here = this.cursor === null ? steps.length : steps.indexOf(this.nearestStep(this.cursor, run));
    this.setCursor(steps[Math.min(steps.length - 1, Math.max(0, here + move))]);
    return chart.tell();
  }

  setMeasure(name) {
    this.measure = name;
    this.invalidate();
  }

  setLogarithmic(on) {
    this.logarithmic = on;
    this.invalidate();
  }

  toggle(name, only) {
    if (only) {
      const alone = this.shown().length === 1 && !this.hidden.has(name);
      this.hidden = new Set(alone ? [] : [...this.runs.keys()].filter((other) => other !== name));
    } else if (!this.hidden.delete(name)) this.hidden.add(name);
    this.list.replaceChildren(...this.shown().map((run) => this.cards.get(run.name).node));
    this.invalidate();
  }

  // Drawing

  invalidate() {
    this.dirty = true;
    this.request();
  }

  request() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    if (this.dirty) this.drawAll();
    else if (this.moved) this.drawMoved();
    this.dirty = this.moved = false;
  }

  drawAll() {
    const runs = this.shown();
    for (const run of runs) this.measureTop(run);
    const { top, most } = this.topOf(this.measure);
    this.top = top;
    // That of whole runs, so that the axis stays while one moves through the steps.
    this.profileTop = this.topOf("cumulative").top * 1.04;
    const any = runs.some((run) => run.count);
    this.overview.hidden = !any;
    this.arrange();
    this.warn(runs);
    for (const chart of this.charts) chart.draw();
    for (const run of runs) this.cards.get(run.name).draw();
    this.controls.draw(top, most, any);
    this.drawn = performance.now();
  }

  /** Charts without data take no room; the first two that have some are large. */
  arrange() {
    let leading = 0;
    for (const chart of this.charts) {
      const shown = chart.runs().length > 0;
      chart.node.hidden = !shown;
      chart.node.classList.toggle("leading", shown && leading++ < LEADING);
    }
  }

  /** The latest warning of each run, above everything else: what has happened comes before how it looks. */
  warn(runs) {
    const warned = runs.filter((run) => run.warnings.length).map((run) => [run, run.warnings.at(-1)]);
    warned.sort(([, a], [, b]) => b.severity - a.severity);
    const key = JSON.stringify(warned.map(([run, warning]) => [run.name, run.over, warning, this.colour(run)]));
    this.alerts.hidden = !warned.length;
    if (this.alerts.dataset.key === key) return;
    this.alerts.dataset.key = key;
    const items = warned.slice(0, ALERTS).map(([run, { step, severity, reasons }]) =>
      el(
        "li",
        { "data-severity": severity, "data-warned": run.name },
        el("i", { class: "swatch", "--run": this.colour(run) }),
        el("b", {}, run.label),
        el("span", { class: "at" }, ` step ${int(step)}${run.over ? ", over since" : ""} `),
        el("span", { class: "sentence" }, reasons[0] ?? ""),
      ),
    );
    const left = warned.length - items.length;
    this.alerts.replaceChildren(...items, left ? el("li", {}, `${int(left)} more of the shown runs had warnings.`) : "");
  }

  drawMoved() {
    for (const chart of this.charts) chart.drawOverlay();
    for (const run of this.shown()) {
      const card = this.cards.get(run.name);
      card.heat.drawOverlay();
      card.follow();
    }
    this.controls.drawStep();
  }
}

function nothingFound(logdir) {
  return `No journal of foldmon under ${logdir || "the logdir (only folders of this machine can be read)"}. One appears with the first line of foldmon.watch(model, val_loader) in a training script that logs there.`;
}
