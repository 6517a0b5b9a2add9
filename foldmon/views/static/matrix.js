// Folding by pair of classes, of one probe of a run.

import { el, Surface } from "./dom.js";
import { fold, shorten } from "./format.js";
import { largest } from "./data.js";
import { ink, ramp } from "./theme.js";

const LABEL = 22;

export class Matrix {
  constructor(page, run) {
    this.page = page;
    this.run = run;
    this.probe = null;
    this.note = "";
    this.cell = [0, 1];
    this.base = new Surface("base");
    this.plot = el("div", { class: "plot matrix", tabindex: "0", role: "img" }, this.base.canvas);
    this.why = el("p", { class: "nothing", hidden: true });
    this.node = el("div", { class: "matrix-box" }, this.plot, this.why);
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => page.tooltip.hide());
    this.plot.addEventListener("blur", () => page.tooltip.hide());
    this.plot.addEventListener("keydown", (event) => this.key(event));
  }

  /** Draw the matrix of a probe's details; `note` says of what its values are, where not of this step alone. */
  draw(probe, note) {
    this.probe = probe;
    this.note = note;
    const values = probe?.class_matrix;
    this.plot.hidden = !values;
    this.why.hidden = !!values || !probe;
    this.why.textContent = "No class labels were given with the held-out data, so there are no class pairs.";
    if (!values) return;
    const side = Math.min(this.node.clientWidth, 240);
    const ctx = this.base.begin(side, side);
    if (!ctx) return;
    this.plot.style.height = this.plot.style.width = `${side}px`;
    const count = values.length;
    const size = (side - LABEL) / count;
    this.top = largest(values.flat()) || 1;
    const { css } = ramp();
    const gap = size > 8 ? 1 : 0;
    for (const [i, row] of values.entries()) {
      for (const [j, value] of row.entries()) {
        ctx.fillStyle = value === null ? ink("hatch") : css[Math.round(255 * Math.min(1, value / this.top))];
        ctx.fillRect(LABEL + j * size, LABEL + i * size, Math.max(size - gap, 0.5), Math.max(size - gap, 0.5));
      }
    }
    this.labels(ctx, probe.class_names, size);
    this.plot.setAttribute(
      "aria-label",
      `${this.run.label}: mean folding by pair of classes${note}, ${count} classes, largest ${fold(this.top)}. Arrow keys read values.`,
    );
  }

  labels(ctx, names, size) {
    const every = Math.ceil(13 / size);
    ctx.font = ink("small-font");
    ctx.fillStyle = ink("ink2");
    ctx.textBaseline = "middle";
    for (let i = 0; i < names.length; i += every) {
      const name = shorten(names[i], 3);
      ctx.textAlign = "right";
      ctx.fillText(name, LABEL - 5, LABEL + (i + 0.5) * size);
      ctx.textAlign = "center";
      ctx.fillText(name, LABEL + (i + 0.5) * size, LABEL - 9);
    }
  }

  point(event) {
    const count = this.probe?.class_matrix?.length ?? 0;
    const size = (this.base.width - LABEL) / count;
    const cell = [event.offsetY, event.offsetX].map((px) => Math.floor((px - LABEL) / size));
    if (cell.some((place) => !(place >= 0 && place < count))) return this.page.tooltip.hide();
    this.cell = cell;
    return this.tell(event.clientX, event.clientY);
  }

  key(event) {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.key === "Escape") this.page.tooltip.hide();
    if (!move || !this.probe?.class_matrix) return;
    event.preventDefault();
    const last = this.probe.class_matrix.length - 1;
    this.cell = this.cell.map((place, i) => Math.min(last, Math.max(0, place + move[i])));
    const box = this.plot.getBoundingClientRect();
    this.tell(box.left + 20, box.top + 20);
  }

  tell(clientX, clientY) {
    const [i, j] = this.cell;
    const { class_names: names, class_matrix: values } = this.probe;
    const value = values[i]?.[j];
    const said = value === null || value === undefined ? "no path" : fold(value);
    this.page.tooltip.show(clientX, clientY, `${names[i]} – ${names[j]}`, [[null, `mean folding${this.note}`, said]]);
  }
}
