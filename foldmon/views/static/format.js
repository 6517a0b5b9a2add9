// Numbers and words as the page shows them.

/** Four significant digits; a dash where there is no number. */
export function num(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2).replace("e", " e").replace("e+", "e");
  if (size >= 1000) return int(value);
  return String(Number(value.toPrecision(size < 0.1 ? 3 : 4)));
}

/** A folding value: four decimals, so that values in a row line up. */
export function fold(value) {
  return Math.abs(value) >= 5e-4 ? value.toFixed(4) : num(value);
}

export function int(value) {
  return value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en-US");
}

export function percent(share) {
  if (share === null || share === undefined) return "–";
  return `${Number((100 * share).toPrecision(2))}%`;
}

/** A share as a percentage with one decimal, so that values in a row line up. */
export function points(share) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(1)}%`;
}

/** Large numbers on an axis: 12k rather than 12,000. */
export function short(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${trim(value / 1e6)}M`;
  if (size >= 1e4) return `${trim(value / 1e3)}k`;
  if (size >= 1e3) return int(value);
  return trim(value);
}

function trim(value) {
  return String(Number(value.toPrecision(4)));
}

export function plural(count, noun) {
  return `${int(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** "4 s", "3 min", "2 h" for a time in milliseconds. */
export function duration(ms) {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** Round numbers that divide [0, high] or [low, high] into about `count` parts. */
export function ticks(low, high, count) {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const unit = [1, 2, 5, 10].find((m) => m * power >= rough) * power;
  const result = [];
  for (let i = Math.ceil(low / unit); i * unit <= high * (1 + 1e-9); i++) {
    result.push(Number((i * unit).toPrecision(12)));
  }
  return result;
}

/** A long name with its middle left out. */
export function shorten(name, most) {
  if (name.length <= most) return name;
  const tail = Math.ceil((most - 1) * 0.6);
  return `${name.slice(0, most - 1 - tail)}…${name.slice(-tail)}`;
}
