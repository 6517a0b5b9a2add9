// Small helpers for elements. Text always enters as text, never as markup.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) node.style.setProperty(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Replace the children only where they changed, so that focus and selection stay. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A canvas that fills its box, drawn in CSS pixels at the screen's own resolution. */
export class Surface {
  constructor(className) {
    this.canvas = el("canvas", { class: className, "aria-hidden": "true" });
    this.width = this.height = 0;
  }

  /** The cleared 2D context, or null while the box has no size. */
  begin(width, height) {
    const scale = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (!w || !h) return null;
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    [this.width, this.height] = [width, height];
    const context = this.canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  }
}

/** The one tooltip of the page. */
export class Tooltip {
  constructor() {
    this.box = el("div", { class: "tooltip", role: "status", "aria-live": "polite", hidden: true });
  }

  /** Show a title and rows of [colour or null, name, value] near a point of the window. */
  show(x, y, title, rows) {
    const lines = rows.map(([colour, name, value]) =>
      el(
        "div",
        { class: value === null ? "tip-note" : "tip-row" },
        colour ? el("i", { class: "swatch", "--run": colour }) : null,
        el("span", {}, name),
        value === null ? null : el("b", {}, value),
      ),
    );
    this.box.replaceChildren(el("div", { class: "tip-title" }, title), ...lines);
    this.box.hidden = false;
    const { width, height } = this.box.getBoundingClientRect();
    const left = x + 16 + width > window.innerWidth ? x - 16 - width : x + 16;
    const top = Math.min(Math.max(8, y + 12), window.innerHeight - height - 8);
    this.box.style.transform = `translate(${Math.max(4, left)}px, ${top}px)`;
  }

  hide() {
    this.box.hidden = true;
  }
}
