// The bar at the top: which runs, which step, what the heat maps show.

import { el, setText } from "./dom.js";
import { fold, int, num } from "./format.js";
import { ramp } from "./theme.js";

export class Controls {
  constructor(page) {
    this.page = page;
    this.chips = el("div", { class: "chips", role: "group", "aria-label": "Runs shown" });
    this.slider = el("input", { type: "range", min: "0", max: "0", value: "0", "aria-label": "Step" });
    this.slider.addEventListener("input", () => this.slide());
    this.step = el("output", { class: "step-text" });
    this.latest = el("button", { type: "button", onclick: () => page.choose(null) }, "Latest");
    this.measures = new Map(
      [["folding", "Each layer"], ["cumulative", "Cumulative"]].map(([name, label]) => [
        name,
        el("button", { type: "button", onclick: () => page.setMeasure(name) }, label),
      ]),
    );
    this.logarithmic = el("button", { type: "button", onclick: () => page.setLogarithmic(!page.logarithmic) }, "Log steps");
    this.scale = el("span", { class: "scale" }, el("b", {}, "0"), el("i", {}), el("b", {}));
    this.row = el(
      "div",
      { class: "controls" },
      el("label", { class: "stepper" }, "Step ", this.slider, this.step),
      this.latest,
      this.logarithmic,
      el("span", { class: "switch", role: "group", "aria-label": "Heat map shows" }, ...this.measures.values()),
      this.scale,
    );
    this.node = el("div", { class: "bar" }, this.chips, this.row);
  }

  slide() {
    const steps = this.page.steps();
    const place = Number(this.slider.value);
    this.page.choose(place >= steps.length - 1 ? null : steps[place]);
  }

  /** Everything; `top` is the value at the dark end of the heat maps, `most` the largest there is. */
  draw(top, most, any) {
    this.drawChips();
    this.drawStep();
    this.row.hidden = !any;
    for (const [name, button] of this.measures) {
      button.setAttribute("aria-pressed", String(name === this.page.measure));
    }
    this.logarithmic.setAttribute("aria-pressed", String(this.page.logarithmic));
    const { css } = ramp();
    const stops = [...css.filter((_, i) => i % 32 === 0), css[255]];
    this.scale.children[1].style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
    setText(this.scale.lastChild, most > top ? `≥ ${num(top)}` : num(top));
  }

  /** What follows the chosen step and the pointer. */
  drawStep() {
    const { page } = this;
    const steps = page.steps();
    const last = steps.length - 1;
    const step = page.looking() ?? steps[last] ?? 0;
    this.slider.max = String(Math.max(0, last));
    this.slider.value = String(Math.max(0, steps.indexOf(page.nearestStep(step))));
    this.slider.setAttribute("aria-valuetext", `step ${int(step)}`);
    setText(this.step, int(step));
    this.node.classList.toggle("latest", page.chosen === null);
    this.latest.setAttribute("aria-pressed", String(page.chosen === null));
  }

  drawChips() {
    const runs = [...this.page.runs.values()];
    const key = runs.map((run) => `${run.name}|${run.label}`).join("\n");
    if (this.key !== key) {
      this.key = key;
      this.chips.replaceChildren(...runs.map((run) => this.chip(run)));
    }
    runs.forEach((run, i) => {
      const chip = this.chips.children[i];
      const last = run.count - 1;
      chip.setAttribute("aria-pressed", String(!this.page.hidden.has(run.name)));
      chip.style.setProperty("--run", this.page.colour(run));
      chip.dataset.level = String(run.value("level", last) ?? 0);
      setText(chip.lastChild, run.count ? fold(run.value("phi", last)) : run.state);
    });
  }

  chip({ name, label }) {
    const { page } = this;
    const [out, all] = [() => page.point(name), () => page.point(null)];
    return el(
      "button",
      {
        type: "button",
        class: "chip",
        title: "Click to show or hide; double-click to show this run alone",
        onclick: () => page.toggle(name, false),
        ondblclick: () => page.toggle(name, true),
        onpointerenter: out,
        onfocus: out,
        onpointerleave: all,
        onblur: all,
      },
      el("i", { class: "swatch" }),
      el("span", {}, label),
      el("b", {}),
    );
  }
}
