// Entry of the report: the same page over data that is in the file itself.

import { Page } from "./page.js";

export async function renderReport() {
  const { runs, probes } = JSON.parse(document.getElementById("foldmon-data").textContent);
  const source = {
    live: false,
    runs: async () => ({ logdir: "", runs }),
    listed: async () => [],
    data: async (name) => runs.find((run) => run.name === name),
    // Only some probes are in the file whole: the last at or before the wanted one stands for it.
    probe: async (name, seq) => probes[name].findLast((probe) => probe.seq <= seq) ?? probes[name][0],
  };
  const page = new Page(document.getElementById("foldmon-page"), source);
  window.foldmonPage = page;
  await page.begin();
}
