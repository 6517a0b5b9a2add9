// Light and dark, the runs' colours, and the colours of heat maps.

// The palette that TensorBoard's Scalars, Custom Scalars, Images and Text tabs give to runs, in the order
// in which its own list of runs has them.
export const PALETTE = ["#ff7043", "#0077bb", "#cc3311", "#33bbee", "#ee3377", "#009988", "#bbbbbb"];

/** Colour of each run: by its place in TensorBoard's list, those that are not in it after those that are. */
export function runColours(names, listed) {
  const order = [...listed, ...names.filter((name) => !listed.includes(name))];
  return new Map(names.map((name) => [name, PALETTE[order.indexOf(name) % PALETTE.length]]));
}

/** Follow TensorBoard's own switch where the page is in it, the system's otherwise. */
export function followTheme(changed) {
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const host = window.parent !== window ? hostBody() : null;
  const update = () => {
    const dark = host ? host.classList.contains("dark-mode") : system.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    changed();
  };
  if (host) new MutationObserver(update).observe(host, { attributes: true, attributeFilter: ["class"] });
  system.addEventListener("change", update);
  update();
}

function hostBody() {
  try {
    return window.parent.document.querySelector("tb-webapp") ? window.parent.document.body : null;
  } catch {
    return null; // another origin
  }
}

export function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

/** A colour of the style sheet. */
export function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// From "nothing" (close to the page) to "much", evenly spaced in lightness.
const LIGHT = ["#f6f5f1", "#dfe8d9", "#b5d7c9", "#7fbfc0", "#4a9fb5", "#2f7aa3", "#27548a", "#232f68", "#170f3c"];
const DARK = ["#26282d", "#233247", "#21466a", "#225f88", "#2d7c9c", "#48a0a6", "#79c0ab", "#b6dcb2", "#f4f5c9"];

const ramps = new Map();

/** 256 colours of a heat map: CSS strings and, for image data, little-endian RGBA. */
export function ramp(dark = isDark()) {
  if (!ramps.has(dark)) ramps.set(dark, makeRamp(dark ? DARK : LIGHT));
  return ramps.get(dark);
}

function makeRamp(stops) {
  const rgb = stops.map((hex) => [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2), 16)));
  const css = [];
  const rgba = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (rgb.length - 1);
    const k = Math.min(Math.floor(at), rgb.length - 2);
    const [r, g, b] = [0, 1, 2].map((c) => Math.round(rgb[k][c] + (at - k) * (rgb[k + 1][c] - rgb[k][c])));
    css.push(`rgb(${r} ${g} ${b})`);
    rgba[i] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  return { css, rgba };
}
