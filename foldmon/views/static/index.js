// Entry of the TensorBoard plugin: TensorBoard imports this module into a frame and calls render().

import { Page } from "./page.js";

async function json(path, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  const response = await fetch(query ? `${path}?${query}` : path);
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error ?? `HTTP ${response.status}`);
  return body;
}

// The frame's base is data/plugin/foldmon/, so that a path prefix of TensorBoard's needs no care.
const source = {
  live: true,
  runs: () => json("./runs"),
  // TensorBoard's own list: its order gives its colours.
  listed: () => json("../../runs").catch(() => []),
  data: (run, version, stable) => json("./data", { run, version, stable }),
  probe: (run, seq) => json("./probe", { run, seq }),
};

export async function render() {
  const page = new Page(document.body, source);
  window.foldmonPage = page;
  await page.begin();
}
