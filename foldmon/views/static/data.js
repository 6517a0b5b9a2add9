// A run's numbers as they arrive: columns by probe, matrices of probes x layers.

/** Little-endian float32 from base64. */
export function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

export class RunData {
  constructor(name, label) {
    this.name = name;
    this.label = label;
    this.version = -1;
    this.stable = 0;
    this.count = 0;
    this.layers = [];
    this.columns = {};
    this.folding = this.cumulative = new Float32Array(0);
    this.warnings = [];
    this.best = null;
    this.users = {};
    this.state = "loading";
    this.problems = [];
    this.start = null;
    this.total = 0;
    this.stride = 1;
    this.complete = false;
    this.lastMs = null;
  }

  /** Take a payload of the server's; true where anything changed. */
  merge(payload) {
    const from = payload.from;
    const added = payload.columns.step.length;
    const before = JSON.stringify([this.version, this.count, this.state, this.problems, this.complete]);
    if (payload.layers.join("\n") !== this.layers.join("\n") && from > 0) {
      this.version = -1;
      return false;
    }
    for (const [name, values] of Object.entries(payload.columns)) {
      this.columns[name] = (this.columns[name] ?? []).slice(0, from).concat(values);
    }
    this.layers = payload.layers;
    for (const name of ["folding", "cumulative"]) {
      const kept = this[name].subarray(0, from * this.layers.length);
      const next = unpack(payload[name]);
      const joined = new Float32Array(kept.length + next.length);
      joined.set(kept);
      joined.set(next, kept.length);
      this[name] = joined;
    }
    this.count = from + added;
    this.version = payload.version;
    this.stable = payload.stable;
    for (const name of ["label", "warnings", "best", "users", "state", "problems", "start", "total", "stride", "complete"]) {
      this[name] = payload[name];
    }
    this.lastMs = payload.last_ms;
    return added > 0 || before !== JSON.stringify([this.version, this.count, this.state, this.problems, this.complete]);
  }

  /** Whether no warning is in force at the latest probe. */
  get over() {
    return !this.value("level", this.count - 1);
  }

  get steps() {
    return this.columns.step ?? [];
  }

  /** Row of the last probe at or before a step; the first where all are later; -1 where there is none. */
  rowAt(step) {
    const steps = this.steps;
    if (!steps.length || step === null) return steps.length - 1;
    let [low, high] = [0, steps.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle] <= step) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /** Row of the first probe after the first tenth of the steps. */
  get settled() {
    const { steps } = this;
    const end = steps[steps.length - 1];
    return steps.findIndex((step) => step - steps[0] >= 0.1 * (end - steps[0]));
  }

  /** How many pairs a probe measured, as text; empty where an older journal does not say. */
  pairs(row) {
    const [measured, pairs] = [this.value("measured", row), this.value("pairs", row)];
    if (pairs === null) return "";
    return measured === pairs ? `all ${pairs} pairs` : `${measured} of ${pairs} pairs`;
  }

  /** Whether a probe measured a share of the pairs, so that its numbers are estimates for all of them. */
  shared(row) {
    return this.value("measured", row) !== this.value("pairs", row);
  }

  value(column, row) {
    return row < 0 ? null : (this.columns[column]?.[row] ?? null);
  }

  /** Row `row` of a matrix, length L. */
  slice(matrix, row) {
    const width = this.layers.length;
    return this[matrix].subarray(row * width, (row + 1) * width);
  }
}

/** Smallest and largest of the finite numbers; [Infinity, -Infinity] where there is none. */
export function range(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** Largest of many finite numbers, 0 where there is none. */
export function largest(values) {
  let top = 0;
  for (const value of values) if (value > top && value < Infinity) top = value;
  return top;
}

/**
 * Where a scale ends: what lies far above it in the first tenth of the steps is cut off. An untrained network
 * often folds many times as much as ever after, and all the rest would lie flat at the bottom.
 */
export function reach(whole, late) {
  return late > 0 && whole > 2 * late ? late : whole;
}
