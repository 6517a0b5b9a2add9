// The depth profile of one run: cumulative folding by layer at the chosen step, the start and the best.

import { el, Surface } from "./dom.js";
import { largest } from "./data.js";
import { fold, int, short, ticks } from "./format.js";
import { BOTTOM, TOP, rowsHeight } from "./heatmap.js";
import { line } from "./linechart.js";
import { ink } from "./theme.js";

export class Profile {
  constructor(page, run) {
    this.page = page;
    this.run = run;
    this.base = new Surface("base");
    this.plot = el("div", { class: "plot", tabindex: "0", role: "img" }, this.base.canvas);
    this.legend = el("div", { class: "legend" });
    this.node = el("div", { class: "profile" }, this.plot, this.legend);
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => page.tooltip.hide());
    this.plot.addEventListener("blur", () => page.tooltip.hide());
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.layer = 0;
  }

  /** The curves, back to front: [class, label, row, why]. */
  curves() {
    const { run, page } = this;
    const chosen = page.rowOf(run);
    const curves = [["start", "start", 0, ""]];
    if (run.best) curves.push(["best", "best", run.best.row, run.best.why]);
    curves.push(["chosen", page.looking() === null ? "latest" : "chosen", chosen, ""]);
    return curves.filter(([, , row]) => row >= 0 && row < run.count);
  }

  draw() {
    const { run, page } = this;
    const height = rowsHeight(run.layers.length) + TOP + BOTTOM;
    this.plot.style.height = `${height}px`;
    const width = this.plot.clientWidth;
    const ctx = this.base.begin(width, height);
    if (!ctx || !run.count) return;
    const box = { x0: 8, x1: width - 12, y0: TOP, y1: height - BOTTOM };
    const curves = this.curves();
    // The chosen step is always whole; the beginning, a quiet line, may lie beyond the scale.
    const top = Math.max(page.profileTop, largest(run.slice("cumulative", curves.at(-1)[2])));
    const x = (value) => box.x0 + (value / top) * (box.x1 - box.x0);
    const row = (box.y1 - box.y0) / run.layers.length;
    this.axis(ctx, box, x, top);
    ctx.save();
    ctx.beginPath();
    ctx.rect(0, 0, box.x1 + 4, height);
    ctx.clip();
    for (const [kind, , at] of curves) {
      const values = run.slice("cumulative", at);
      ctx.beginPath();
      for (const [i, value] of values.entries()) ctx.lineTo(x(value), box.y0 + (i + 0.5) * row);
      ctx.setLineDash(kind === "start" ? [3, 3] : []);
      ctx.strokeStyle = kind === "chosen" ? page.colour(run) : ink(kind === "best" ? "ink2" : "ink3");
      ctx.lineWidth = kind === "chosen" ? 2.2 : 1.2;
      ctx.lineJoin = "round";
      ctx.stroke();
    }
    ctx.restore();
    this.say(curves);
  }

  axis(ctx, box, x, top) {
    ctx.font = ink("small-font");
    ctx.fillStyle = ink("ink3");
    ctx.strokeStyle = ink("grid");
    ctx.lineWidth = 1;
    ctx.textBaseline = "top";
    ctx.textAlign = "center";
    for (const tick of ticks(0, top, 3)) {
      const px = Math.round(x(tick)) + 0.5;
      line(ctx, px, box.y0, px, box.y1);
      ctx.fillText(short(tick), px, box.y1 + 7);
    }
  }

  say(curves) {
    const { run, page } = this;
    const entries = [curves.at(-1), ...curves.slice(0, -1)].map(([kind, label, row, why]) =>
      el(
        "span",
        { class: `key ${kind}`, "--run": page.colour(run) },
        el("i", {}),
        `${label} ${int(run.steps[row])}${why ? `: ${why}` : ""}`,
      ),
    );
    const text = entries.map((entry) => entry.textContent).join(" ");
    if (this.legend.textContent !== text || this.legend.dataset.colour !== page.colour(run)) {
      this.legend.dataset.colour = page.colour(run);
      this.legend.replaceChildren(...entries);
    }
    const best = run.best ? `, best (${run.best.why}) at step ${run.steps[run.best.row]}` : "";
    this.plot.setAttribute("aria-label", `${run.label}: depth profile by layer${best}. Arrow keys read values.`);
  }

  point(event) {
    const height = rowsHeight(this.run.layers.length);
    const layer = Math.floor(((event.offsetY - TOP) / height) * this.run.layers.length);
    if (layer < 0 || layer >= this.run.layers.length) return this.page.tooltip.hide();
    this.layer = layer;
    return this.tell(event.clientX, event.clientY);
  }

  key(event) {
    const move = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === "Escape") this.page.tooltip.hide();
    if (move === undefined) return;
    event.preventDefault();
    this.layer = Math.min(this.run.layers.length - 1, Math.max(0, this.layer + move));
    const box = this.plot.getBoundingClientRect();
    this.tell(box.left + 20, box.top + 20);
  }

  tell(clientX, clientY) {
    const { run, page } = this;
    const rows = this.curves().map(([kind, label, row, why]) => [
      kind === "chosen" ? page.colour(run) : null,
      `${label}, step ${int(run.steps[row])}${why ? ` (${why})` : ""}`,
      fold(run.slice("cumulative", row)[this.layer]),
    ]);
    page.tooltip.show(clientX, clientY, `${run.layers[this.layer]}, cumulative`, rows);
  }
}
