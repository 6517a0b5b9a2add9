// The axis of the steps: linear, or logarithmic from the first step on.

import { short, ticks } from "./format.js";
import { ink } from "./theme.js";

export class Steps {
  /** From step `low` at pixel x0 to step `high` at x1. */
  constructor([low, high], x0, x1, logarithmic) {
    Object.assign(this, { low, high, x0, x1, logarithmic });
    this.span = this.scaled(high) || 1;
  }

  scaled(step) {
    return this.logarithmic ? Math.log1p(Math.max(0, step - this.low)) : step - this.low;
  }

  x(step) {
    return this.x0 + (this.scaled(step) / this.span) * (this.x1 - this.x0);
  }

  at(px) {
    const scaled = ((px - this.x0) / (this.x1 - this.x0 || 1)) * this.span;
    return this.low + (this.logarithmic ? Math.expm1(scaled) : scaled);
  }

  ticks() {
    const { low, high } = this;
    if (!this.logarithmic) return ticks(low, high, Math.max(1, Math.floor((this.x1 - this.x0) / 90)));
    const powers = Array.from({ length: 16 }, (_, i) => low + 10 ** i).filter((step) => step <= high);
    // The first ones lie close together where there are many.
    return [low, ...powers].filter((step, i, all) => i === 0 || this.x(step) - this.x(all[0]) > 30);
  }

  draw(ctx, y) {
    ctx.font = ink("small-font");
    ctx.fillStyle = ink("ink3");
    ctx.textAlign = "center";
    ctx.textBaseline = "top";
    for (const tick of this.ticks()) ctx.fillText(short(tick), this.x(tick), y + 7);
  }
}
