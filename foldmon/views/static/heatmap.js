// Layer x step of one run: the input's side at the top, the output's at the bottom.

import { el, Surface } from "./dom.js";
import { fold, int, shorten } from "./format.js";
import { drawChosen, line, triangle } from "./linechart.js";
import { ink, ramp } from "./theme.js";

const NAMES = 148;
// Space above the rows (for marks) and below (for steps), in CSS pixels.
export const TOP = 12;
export const BOTTOM = 22;

/** Height of the rows of `count` layers, in CSS pixels. */
export function rowsHeight(count) {
  return Math.max(150, Math.min(count * 15, 232));
}

export class HeatMap {
  constructor(page, run) {
    this.page = page;
    this.run = run;
    this.layer = null;
    this.base = new Surface("base");
    this.overlay = new Surface("overlay");
    this.node = el("div", { class: "plot heat", tabindex: "0", role: "img" }, this.base.canvas, this.overlay.canvas);
    this.node.addEventListener("pointermove", (event) => this.point(event));
    this.node.addEventListener("pointerleave", () => this.leave());
    this.node.addEventListener("blur", () => this.leave());
    this.node.addEventListener("click", () => page.choose(page.cursor));
    this.node.addEventListener("keydown", (event) => this.key(event));
  }

  layout() {
    const width = this.node.clientWidth;
    const rows = rowsHeight(this.run.layers.length);
    const names = Math.min(NAMES, width * 0.3);
    const box = { x0: names, x1: width - 6, y0: TOP, y1: TOP + rows };
    const steps = this.page.axis(box.x0, box.x1);
    return { width, height: rows + TOP + BOTTOM, box, steps, x: (step) => steps.x(step) };
  }

  draw() {
    const { run, page } = this;
    this.node.style.height = `${rowsHeight(run.layers.length) + TOP + BOTTOM}px`;
    const at = this.layout();
    const ctx = this.base.begin(at.width, at.height);
    if (!ctx || !run.layers.length) return;
    this.cells(ctx, at, run[page.measure], page.scale());
    this.names(ctx, at);
    at.steps.draw(ctx, at.box.y1);
    for (const warning of run.warnings) {
      const colour = ink(warning.severity > 1 ? "alarm" : "warn");
      triangle(ctx, at.x(warning.step), at.box.y0 - 11, 5, colour);
    }
    const what = page.measure === "folding" ? "folding of each layer" : "cumulative folding";
    this.node.setAttribute(
      "aria-label",
      `${run.label}: heat map of ${what}, ${run.layers.length} layers by ${run.count} probes. Arrow keys read values.`,
    );
    this.drawOverlay();
  }

  /** One column of image a pixel of the screen, each from the probe that holds at its step. */
  cells(ctx, at, values, top) {
    const { run } = this;
    const { rgba } = ramp();
    const scale = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round((at.box.x1 - at.box.x0) * scale));
    const layers = run.layers.length;
    const image = new ImageData(width, layers);
    const pixels = new Uint32Array(image.data.buffer);
    const steps = run.steps;
    const end = steps[run.count - 1];
    const spacing = run.count > 1 ? (end - steps[0]) / (run.count - 1) : Infinity;
    // The latest probe holds from the last step on, where the picture ends: it gets three pixels.
    const latest = at.steps.high === end ? width - 3 * scale : Infinity;
    let row = 0;
    for (let px = 0; px < width; px++) {
      const step = at.steps.at(at.box.x0 + (px + 0.5) / scale);
      if (step < steps[0] || step > end + spacing) continue;
      while (row + 1 < run.count && (steps[row + 1] <= step || px >= latest)) row++;
      const begin = row * layers;
      for (let layer = 0; layer < layers; layer++) {
        const share = values[begin + layer] / top;
        // NaN compares false: such a cell stays transparent, on the hatching below.
        if (share >= 0) pixels[layer * width + px] = rgba[share >= 1 ? 255 : (share * 255) | 0];
      }
    }
    this.scratch ??= document.createElement("canvas");
    this.scratch.width = width;
    this.scratch.height = layers;
    this.scratch.getContext("2d").putImageData(image, 0, 0);
    ctx.fillStyle = ink("hatch");
    ctx.fillRect(at.box.x0, at.box.y0, at.box.x1 - at.box.x0, at.box.y1 - at.box.y0);
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(this.scratch, at.box.x0, at.box.y0, at.box.x1 - at.box.x0, at.box.y1 - at.box.y0);
  }

  names(ctx, at) {
    const layers = this.run.layers;
    const row = (at.box.y1 - at.box.y0) / layers.length;
    const every = Math.ceil(13 / row);
    ctx.font = ink("small-font");
    ctx.textAlign = "right";
    ctx.textBaseline = "middle";
    ctx.fillStyle = ink("ink2");
    const most = Math.floor(at.box.x0 / 5.6);
    for (let i = 0; i < layers.length; i += every) {
      ctx.fillText(shorten(layers[i], most), at.box.x0 - 8, at.box.y0 + (i + 0.5) * row);
    }
  }

  drawOverlay() {
    const at = this.layout();
    const ctx = this.overlay.begin(at.width, at.height);
    if (!ctx || !this.run.count) return;
    drawChosen(ctx, at, this.page);
    if (this.page.cursor !== null) {
      ctx.strokeStyle = ink("ink");
      ctx.globalAlpha = 0.6;
      line(ctx, at.x(this.page.cursor), at.box.y0, at.x(this.page.cursor), at.box.y1);
      ctx.globalAlpha = 1;
    }
    if (this.layer !== null) {
      const row = (at.box.y1 - at.box.y0) / this.run.layers.length;
      ctx.strokeStyle = ink("ink");
      ctx.lineWidth = 1;
      ctx.strokeRect(at.box.x0, at.box.y0 + this.layer * row, at.box.x1 - at.box.x0, Math.max(row, 1));
    }
  }

  point(event) {
    const at = this.layout();
    const share = (event.offsetY - at.box.y0) / (at.box.y1 - at.box.y0);
    const layer = Math.floor(share * this.run.layers.length);
    const inside = event.offsetX >= at.box.x0 && layer >= 0 && layer < this.run.layers.length;
    this.layer = inside ? layer : null;
    this.page.setCursor(inside ? this.page.nearestStep(at.steps.at(event.offsetX), this.run) : null);
    if (inside) this.tell(event.clientX, event.clientY);
  }

  key(event) {
    const move = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (move !== undefined) {
      event.preventDefault();
      const last = this.run.layers.length - 1;
      this.layer = Math.min(last, Math.max(0, (this.layer ?? (move > 0 ? -1 : last + 1)) + move));
      if (this.page.cursor === null) this.page.setCursor(this.run.steps[this.run.count - 1]);
      this.drawOverlay();
      this.tell();
    } else {
      this.layer ??= 0;
      this.page.stepKey(event, this, this.run);
    }
  }

  tell(clientX, clientY) {
    const { run, page } = this;
    if (page.cursor === null || this.layer === null || !run.count) return;
    if (clientX === undefined) {
      const box = this.node.getBoundingClientRect();
      [clientX, clientY] = [box.left + this.layout().x(page.cursor), box.top + 20];
    }
    const row = run.rowAt(page.cursor);
    const value = (name) => fold(run.slice(name, row)[this.layer]);
    page.tooltip.show(clientX, clientY, `${run.layers[this.layer]}`, [
      [null, "step", int(run.steps[row])],
      ...(run.pairs(row) ? [[null, "measured", run.pairs(row)]] : []),
      [null, "folding of the layer", value("folding")],
      [null, "cumulative", value("cumulative")],
    ]);
  }

  leave() {
    this.layer = null;
    this.page.setCursor(null);
  }
}
