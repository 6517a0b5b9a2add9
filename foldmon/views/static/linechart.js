// One number of every shown run over the steps, with its interval and the warnings.

import { el, setText, Surface } from "./dom.js";
import { fold, int, points, short, shorten, ticks } from "./format.js";
import { largest, range, reach } from "./data.js";
import { ink } from "./theme.js";

// From so many runs on, lines are thinner and intervals fainter.
const MANY = 6;
const PAD = { left: 46, top: 14, bottom: 22 };

export class LineChart {
  /**
   * page: the state shared by all charts; spec: {title, hint, value, lower, upper, own, direct, fitted, full, most,
   * format}, with names of columns for value, lower, upper and own (the user's). A scale begins at 0; a `fitted` one
   * spans the values, up to `most`; `full` ends it there whatever the values.
   */
  constructor(page, spec) {
    this.page = page;
    this.spec = spec;
    this.base = new Surface("base");
    this.overlay = new Surface("overlay");
    this.plot = el("div", { class: "plot", tabindex: "0", role: "img" }, this.base.canvas, this.overlay.canvas);
    this.format = spec.format ?? fold;
    this.hint = el("small", {}, spec.hint);
    this.node = el(
      "section",
      { class: "card", "data-chart": spec.value },
      el("h2", {}, spec.title, this.hint),
      this.plot,
    );
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => page.setCursor(null));
    this.plot.addEventListener("blur", () => page.setCursor(null));
    this.plot.addEventListener("click", () => page.choose(page.cursor));
    this.plot.addEventListener("keydown", (event) => page.stepKey(event, this));
  }

  runs() {
    const { value, own } = this.spec;
    const has = (run) => run.count && [value, own].some((name) => (run.columns[name] ?? []).some(Number.isFinite));
    // The one that is pointed at comes last and so on top.
    const late = (run) => Number(run.name === this.page.pointed);
    return this.page.shown().filter(has).sort((a, b) => late(a) - late(b));
  }

  layout() {
    const width = this.plot.clientWidth;
    const height = this.plot.clientHeight;
    const right = this.spec.direct ? Math.min(150, width * 0.22) : 14;
    const box = { x0: PAD.left, x1: width - right, y0: PAD.top, y1: height - PAD.bottom };
    const steps = this.page.axis(box.x0, box.x1);
    const x = (step) => steps.x(step);
    const y = (value) => box.y1 - ((value - this.low) / (this.top - this.low || 1)) * (box.y1 - box.y0);
    // Of a single point that may lie off the scale.
    const held = (value) => Math.min(Math.max(y(value), box.y0), box.y1);
    return { width, height, box, steps, x, y, held };
  }

  draw() {
    const runs = this.runs();
    if (!runs.length) return;
    const { value, own } = this.spec;
    [this.low, this.top] = this.scale(runs);
    const theirs = own && runs.find((run) => run.users[own]);
    const measured = runs.some((run) => range(run.columns[value] ?? [])[1] > -Infinity);
    const dashed = theirs ? `your ${theirs.users[own]}` : "";
    setText(this.hint, measured ? this.spec.hint + (dashed && `; dashed: ${dashed}`) : dashed);
    const at = this.layout();
    const ctx = this.base.begin(at.width, at.height);
    if (!ctx) return;
    this.crowded = runs.length > MANY;
    this.axes(ctx, at);
    ctx.save();
    ctx.beginPath();
    ctx.rect(at.box.x0 - 4, at.box.y0, at.width, at.box.y1 - at.box.y0 + 4);
    ctx.clip();
    for (const run of runs) this.band(ctx, at, run);
    for (const run of runs) this.line(ctx, at, run);
    if (own) for (const run of runs) this.dashed(ctx, at, run);
    ctx.restore();
    this.beyond(ctx, at, runs);
    for (const run of runs) this.marks(ctx, at, run);
    if (this.spec.direct) this.labels(ctx, at, runs);
    const said = runs.map((run) => `${run.label} ${this.format(run.value(value, run.count - 1))}`).join(", ");
    this.plot.setAttribute("aria-label", `${this.spec.title} over steps; latest: ${said}. Arrow keys read values.`);
    this.drawOverlay();
  }

  /** Where the scale begins and ends. */
  scale(runs) {
    const { fitted, full, most } = this.spec;
    if (full) return [0, full];
    if (!fitted) return [0, Math.max(...runs.map((run) => this.reach(run))) * 1.06 || 1];
    const spans = runs.map((run) => this.span(run));
    const [low, high] = [Math.min(...spans.map((span) => span[0])), Math.max(...spans.map((span) => span[1]))];
    const room = 0.08 * (high - low || Math.abs(high) || 1);
    // Close to 0 the scale begins there.
    const begin = low >= 0 && low < 0.3 * high ? 0 : low - room;
    return [begin, Math.min(high + room, most ? most + room / 3 : Infinity)];
  }

  /** Smallest and largest value of a run that a fitted scale covers; far ones of the first tenth are cut off. */
  span(run) {
    const { value, lower, upper, own } = this.spec;
    const columns = [...[value, lower, upper].map((name) => run.columns[name] ?? []), run.columns[own] ?? []];
    const whole = range(columns.flat());
    const late = range(columns.flatMap((column) => column.slice(run.settled)));
    const wide = whole[1] - whole[0] > 2 * (late[1] - late[0]);
    return wide && !this.page.logarithmic && Number.isFinite(late[0]) ? late : whole;
  }

  /** Largest value of a run that the scale covers; on a logarithmic axis, made for the beginning, all are. */
  reach(run) {
    const { value, upper } = this.spec;
    const bounds = run.columns[upper ?? value];
    const late = largest(bounds.slice(run.settled));
    return this.page.logarithmic ? Math.max(late, largest(run.columns[value])) : reach(largest(bounds), late);
  }

  /** Say how far the lines go where they leave the scale. */
  beyond(ctx, at, runs) {
    const ends = runs.map((run) => [range(run.columns[this.spec.value]), run]);
    const [[, top], highest] = ends.reduce((most, next) => (next[0][1] > most[0][1] ? next : most));
    const [[low], lowest] = ends.reduce((most, next) => (next[0][0] < most[0][0] ? next : most));
    if (top > this.top) this.arrow(ctx, at, highest, top, `↑ ${this.format(top)}`, at.box.y0 - 3);
    if (low < this.low) this.arrow(ctx, at, lowest, low, `↓ ${this.format(low)}`, at.box.y1 - 4);
  }

  arrow(ctx, at, run, value, text, y) {
    const x = at.x(run.steps[run.columns[this.spec.value].indexOf(value)]);
    ctx.font = ink("small-font");
    ctx.fillStyle = ink("ink3");
    ctx.textAlign = x > (at.box.x0 + at.box.x1) / 2 ? "right" : "left";
    ctx.textBaseline = "alphabetic";
    ctx.fillText(text, x + (ctx.textAlign === "left" ? 3 : -3), y);
  }

  axes(ctx, at) {
    ctx.font = ink("small-font");
    ctx.fillStyle = ink("ink3");
    ctx.strokeStyle = ink("grid");
    ctx.lineWidth = 1;
    ctx.textAlign = "right";
    ctx.textBaseline = "middle";
    const percent = this.format === points;
    for (const tick of ticks(this.low, this.top, 4)) {
      const y = Math.round(at.y(tick)) + 0.5;
      line(ctx, at.box.x0, y, at.box.x1, y);
      ctx.fillText(percent ? `${short(100 * tick)}%` : short(tick), at.box.x0 - 8, y);
    }
    at.steps.draw(ctx, at.box.y1);
  }

  band(ctx, at, run) {
    const { lower, upper } = this.spec;
    if (!lower) return;
    const steps = run.steps;
    const [low, high] = [run.columns[lower], run.columns[upper]];
    const known = steps.map((_, i) => i).filter((i) => low[i] !== null && high[i] !== null);
    if (known.length < 2) return;
    ctx.beginPath();
    for (const i of known) ctx.lineTo(at.x(steps[i]), at.y(high[i]));
    for (const i of known.reverse()) ctx.lineTo(at.x(steps[i]), at.y(low[i]));
    ctx.fillStyle = this.page.colour(run);
    ctx.globalAlpha = (this.crowded ? 0.08 : 0.16) * this.page.weight(run);
    ctx.fill();
    ctx.globalAlpha = 1;
  }

  line(ctx, at, run) {
    const values = run.columns[this.spec.value];
    ctx.beginPath();
    let open = false;
    run.steps.forEach((step, i) => {
      if (values[i] === null) open = false;
      else if (open) ctx.lineTo(at.x(step), at.y(values[i]));
      else {
        ctx.moveTo(at.x(step), at.y(values[i]));
        open = true;
      }
    });
    ctx.strokeStyle = this.page.colour(run);
    ctx.lineWidth = this.crowded ? 1.2 : 1.6;
    ctx.lineJoin = "round";
    ctx.globalAlpha = this.page.weight(run);
    ctx.stroke();
    ctx.globalAlpha = 1;
    const last = run.count - 1;
    const whole = run.value("measured", last) !== null && !run.shared(last);
    if (values[last] === null || !(last === 0 || whole)) return;
    dot(ctx, at.x(run.steps[last]), at.y(values[last]), last ? 2.2 : 3, this.page.colour(run));
  }

  /** The user's own score, known at some of the probes only: joined where it is. */
  dashed(ctx, at, run) {
    const known = (run.columns[this.spec.own] ?? []).map((value, i) => [value, run.steps[i]]).filter(([value]) => value !== null);
    if (!known.length) return;
    ctx.beginPath();
    for (const [value, step] of known) ctx.lineTo(at.x(step), at.y(value));
    ctx.strokeStyle = this.page.colour(run);
    ctx.lineWidth = 1.2;
    ctx.globalAlpha = 0.8 * this.page.weight(run);
    ctx.setLineDash([4, 3]);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
    if (known.length === 1) dot(ctx, at.x(known[0][1]), at.held(known[0][0]), 2.5, this.page.colour(run));
  }

  marks(ctx, at, run) {
    for (const warning of run.warnings) {
      const x = at.x(warning.step);
      ctx.strokeStyle = ink(warning.severity > 1 ? "alarm" : "warn");
      ctx.lineWidth = 1;
      ctx.setLineDash([2, 3]);
      line(ctx, x, at.box.y0 + 8, x, at.box.y1);
      ctx.setLineDash([]);
      triangle(ctx, x, at.box.y0, 5, ink(warning.severity > 1 ? "alarm" : "warn"));
      const row = run.rowAt(warning.step);
      const value = run.value(this.spec.value, row);
      if (value !== null) ring(ctx, x, at.held(value), this.page.colour(run));
    }
  }

  /** The runs' names at the ends of their lines, pushed apart where they would meet. */
  labels(ctx, at, runs) {
    const ends = runs.map((run) => {
      const row = run.count - 1;
      return { run, x: at.x(run.steps[row]), y: at.held(run.value(this.spec.value, row) ?? 0) };
    });
    ends.sort((a, b) => a.y - b.y);
    const gap = Math.min(15, (at.box.y1 - at.box.y0) / ends.length);
    let last = -Infinity;
    for (const end of ends) last = end.at = Math.max(end.y, last + gap);
    let next = at.box.y1 + gap / 2;
    for (const end of ends.reverse()) next = end.at = Math.min(end.at, next - gap);
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    ctx.font = ink("small-font");
    for (const { run, x, y, at: shift } of ends) {
      const start = at.box.x1 + 16;
      ctx.strokeStyle = this.page.colour(run);
      ctx.lineWidth = 1;
      ctx.globalAlpha = 0.7 * this.page.weight(run);
      ctx.beginPath();
      ctx.moveTo(x, y);
      ctx.lineTo(Math.max(x, at.box.x1), y);
      ctx.lineTo(start - 3, shift);
      ctx.stroke();
      ctx.globalAlpha = Math.max(this.page.weight(run), 0.45);
      ctx.fillStyle = ink("ink2");
      ctx.fillText(fitted(ctx, run.label, at.width - start - 2), start, shift + 0.5);
    }
    ctx.globalAlpha = 1;
  }

  drawOverlay() {
    const at = this.layout();
    const ctx = this.overlay.begin(at.width, at.height);
    if (!ctx || this.node.hidden || this.top === undefined) return;
    drawChosen(ctx, at, this.page);
    const cursor = this.page.cursor;
    if (cursor === null) return;
    ctx.strokeStyle = ink("ink3");
    line(ctx, at.x(cursor), at.box.y0, at.x(cursor), at.box.y1);
    for (const run of this.runs()) {
      const row = run.rowAt(cursor);
      const value = run.value(this.spec.value, row);
      if (value !== null) ring(ctx, at.x(run.steps[row]), at.held(value), this.page.colour(run));
    }
  }

  point(event) {
    const at = this.layout();
    const px = event.offsetX;
    this.page.setCursor(this.page.nearestStep(at.steps.at(px)));
    this.tell(event.clientX, event.clientY);
  }

  /** Say what is under the cursor; used by the pointer and by the keyboard. */
  tell(clientX, clientY) {
    const { page, spec } = this;
    if (page.cursor === null) return;
    if (clientX === undefined) {
      const box = this.plot.getBoundingClientRect();
      [clientX, clientY] = [box.left + this.layout().x(page.cursor), box.top + 20];
    }
    const rows = [];
    const { format } = this;
    for (const run of this.runs()) {
      const row = run.rowAt(page.cursor);
      const [low, high] = [run.value(spec.lower, row), run.value(spec.upper, row)];
      const interval = low === null || high === null ? "" : `  [${format(low)}, ${format(high)}]`;
      const of = spec.fitted ? "" : run.pairs(row);
      const name = of ? `${run.label}, ${of}` : run.label;
      const value = run.value(spec.value, row);
      if (value !== null) rows.push([page.colour(run), name, `${format(value)}${interval}`]);
      const theirs = run.value(spec.own, row);
      if (theirs !== null) rows.push([page.colour(run), `${run.label}, your ${run.users[spec.own]}`, format(theirs)]);
    }
    rows.push(...page.warningsNear(this.layout()));
    page.tooltip.show(clientX, clientY, `step ${int(page.cursor)}`, rows);
  }
}

export function drawChosen(ctx, at, page) {
  if (page.chosen === null) return;
  ctx.strokeStyle = ink("accent");
  ctx.lineWidth = 1.5;
  line(ctx, at.x(page.chosen), at.box.y0, at.x(page.chosen), at.box.y1);
}

export function line(ctx, x0, y0, x1, y1) {
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
}

export function triangle(ctx, x, y, size, colour) {
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.moveTo(x - size, y);
  ctx.lineTo(x + size, y);
  ctx.lineTo(x, y + 1.5 * size);
  ctx.fill();
}

function fitted(ctx, text, width) {
  let most = text.length;
  while (most > 3 && ctx.measureText(shorten(text, most)).width > width) most--;
  return shorten(text, most);
}

function dot(ctx, x, y, radius, colour) {
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 7);
  ctx.fill();
}

function ring(ctx, x, y, colour) {
  dot(ctx, x, y, 4.5, ink("bg"));
  dot(ctx, x, y, 3, colour);
}
