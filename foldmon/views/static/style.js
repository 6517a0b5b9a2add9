// The style sheet. It is a script's string because TensorBoard's frame loads a script only.

export const STYLE = `
:root {
  --bg: #ffffff; --card: #ffffff; --edge: #e3e6ea; --ink: #1c2126; --ink2: #4d5761; --ink3: #7b858f;
  --grid: #eceff2; --accent: #1f6feb; --warn: #c2570c; --alarm: #c8102e; --hatch: #eceef0; --soft: #f5f6f8;
  --small-font: 11px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color-scheme: light;
}
:root[data-theme="dark"] {
  --bg: #1b1d20; --card: #1b1d20; --edge: #34383e; --ink: #eceff1; --ink2: #b4bcc4; --ink3: #8a939c;
  --grid: #2b2f34; --accent: #6cb0ff; --warn: #f0953f; --alarm: #ff6b74; --hatch: #2f3338; --soft: #25282c;
  color-scheme: dark;
}
body { margin: 0; background: var(--bg); }
.foldmon {
  box-sizing: border-box; max-width: 1560px; margin: 0 auto; padding: 0 20px 40px; color: var(--ink);
  font: 13px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; -webkit-font-smoothing: antialiased;
}
.foldmon [hidden] { display: none !important; }
.foldmon h2, .foldmon h3, .foldmon p, .foldmon ul { margin: 0; padding: 0; font-weight: inherit; }
.foldmon h2 { font-size: 14px; font-weight: 600; }
.foldmon h2 small { margin-left: 8px; font-size: 12px; font-weight: 400; color: var(--ink3); }
.foldmon h3 { margin-bottom: 4px; font-size: 12px; font-weight: 500; color: var(--ink2); }
.foldmon ul { list-style: none; }
.foldmon b { font-weight: 600; }
.foldmon :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }

.bar {
  position: sticky; top: 0; z-index: 5; padding: 12px 0 10px; background: var(--bg);
  border-bottom: 1px solid var(--edge);
}
.chips { display: flex; flex-wrap: wrap; gap: 6px; }
.foldmon button {
  padding: 3px 10px; font: inherit; color: var(--ink2); background: none; border: 1px solid var(--edge);
  border-radius: 999px; cursor: pointer;
}
.foldmon button:hover { background: var(--soft); }
.chip { display: inline-flex; align-items: center; gap: 7px; max-width: 300px; }
.chip span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; color: var(--ink); }
.chip b { flex: none; color: var(--ink3); font-weight: 500; }
.chip[aria-pressed="false"] { opacity: 0.5; }
.chip[aria-pressed="false"] .swatch { background: none; box-shadow: inset 0 0 0 2px var(--run); }
.chip[data-level="1"] b::before { content: "▲ "; color: var(--warn); }
.chip[data-level="2"] b::before { content: "▲ "; color: var(--alarm); }
.swatch { display: inline-block; flex: none; width: 10px; height: 10px; border-radius: 3px; background: var(--run); }
.controls { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 16px; margin-top: 10px; color: var(--ink2); }
.stepper { display: flex; flex: 1 1 320px; align-items: center; gap: 10px; }
.stepper input { flex: 1; min-width: 120px; margin: 0; accent-color: var(--accent); }
.latest .stepper input { accent-color: var(--ink3); }
.step-text { min-width: 5.5ch; color: var(--ink); font-weight: 600; }
.foldmon button[aria-pressed="true"]:not(.chip) { color: var(--ink); background: var(--soft); border-color: var(--ink3); }
.switch { display: inline-flex; }
.switch button:first-child { border-radius: 999px 0 0 999px; }
.switch button:last-child { margin-left: -1px; border-radius: 0 999px 999px 0; }
.scale { display: inline-flex; align-items: center; gap: 6px; font-size: 12px; color: var(--ink3); }
.scale b { font-weight: 400; }
.scale i { width: 110px; height: 10px; border-radius: 2px; box-shadow: inset 0 0 0 1px var(--edge); }
.message { margin: 16px 0 4px !important; padding: 10px 14px !important; background: var(--soft); border-left: 3px solid var(--warn); border-radius: 4px; }

.overview { display: flex; flex-wrap: wrap; gap: 14px 28px; padding: 16px 0 6px; }
.overview .card { flex: 1 1 22%; min-width: 220px; }
.overview h2 { overflow: hidden; white-space: nowrap; text-overflow: ellipsis; }
.overview .leading { flex: 1 1 44%; min-width: 340px; }
.plot { position: relative; min-width: 0; cursor: crosshair; touch-action: pan-y; }
.overview .plot { height: 150px; margin-top: 4px; }
.overview .leading .plot { height: 216px; }
.plot canvas { position: absolute; inset: 0; pointer-events: none; }
.nothing { padding: 20px 0 !important; color: var(--ink3); }

.run { padding: 18px 0 14px; border-top: 1px solid var(--edge); }
.run header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 18px; }
.run header h2 { display: inline-flex; align-items: center; gap: 8px; overflow-wrap: anywhere; }
.headline { font-size: 14px; color: var(--ink2); }
.headline .symbol { margin-right: 5px; color: var(--ink3); }
.headline .phi { font-size: 16px; color: var(--ink); }
.headline .at { margin-left: 8px; color: var(--ink3); }
.headline .at + .at { margin-left: 0; }
.headline .score { margin-left: 14px; }
.headline .score b { color: var(--ink); }
.headline .at b { color: var(--ink2); font-weight: 500; }
.state { margin-left: auto; font-size: 12px; color: var(--ink3); }
.state[data-state="broken"] { color: var(--alarm); }
.facts { display: flex; flex-wrap: wrap; margin: 2px 0 0 18px !important; color: var(--ink3); font-size: 12px; }
.facts li:not(:last-child)::after { content: "·"; margin: 0 7px; }
.warnings, .problems { margin: 8px 0 0 !important; }
.warnings li, .problems li { max-width: 110ch; padding: 5px 12px; border-left: 3px solid var(--warn); background: var(--soft); }
.warnings li[data-severity="2"] { border-color: var(--alarm); }
.problems li { border-color: var(--ink3); color: var(--ink2); }
.warnings li + li, .problems li + li { margin-top: 3px; }
.foldmon .alerts { margin: 12px 0 0; }
.alerts li { max-width: none; font-size: 14px; padding: 8px 14px; }
.alerts .swatch { margin-right: 8px; }
.alerts .at { color: var(--ink3); margin: 0 8px 0 6px; }
.panels { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 1.15fr) minmax(0, 1fr); gap: 12px 28px; margin-top: 12px; }
.panel { min-width: 0; }
.panel .nothing { max-width: 24em; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 12px; padding-left: 8px; font-size: 11px; color: var(--ink2); }
.key { display: inline-flex; align-items: center; gap: 5px; }
.key i { width: 16px; border-top: 2px solid var(--ink2); }
.key.start i { border-top-style: dashed; border-color: var(--ink3); }
.key.chosen i { border-top: 3px solid var(--run); }
.more { display: flex; flex-wrap: wrap; gap: 2px 20px; margin-top: 8px; }
.numbers { font-size: 12px; color: var(--ink2); }
.numbers[open] { flex-basis: 100%; }
.numbers summary { cursor: pointer; color: var(--ink3); width: max-content; }
.numbers summary:hover { color: var(--ink); }
.scroll, .coverage { max-height: 360px; overflow: auto; margin-top: 6px !important; }
.numbers table { border-collapse: collapse; }
.numbers th, .numbers td { padding: 2px 14px 2px 0; text-align: right; white-space: nowrap; font-weight: 400; }
.numbers tbody th, .numbers thead th:nth-child(2) { text-align: left; color: var(--ink); }
.numbers thead th { position: sticky; top: 0; background: var(--bg); color: var(--ink3); border-bottom: 1px solid var(--edge); }
.coverage li { padding: 1px 0; }

.tooltip {
  position: fixed; top: 0; left: 0; z-index: 10; max-width: 420px; padding: 7px 10px; pointer-events: none;
  color: var(--ink); background: var(--card); border: 1px solid var(--edge); border-radius: 6px;
  box-shadow: 0 4px 16px rgb(0 0 0 / 0.16); font: 12px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  font-variant-numeric: tabular-nums;
}
.tooltip[hidden] { display: none; }
.tip-title { margin-bottom: 2px; color: var(--ink2); font-weight: 600; overflow-wrap: anywhere; }
.tip-row { display: flex; align-items: center; gap: 7px; }
.tip-row b { margin-left: auto; padding-left: 14px; font-weight: 600; white-space: pre; }
.tip-note { margin-top: 3px; color: var(--warn); }
.tip-note .swatch { margin-right: 6px; }

@media (max-width: 900px) {
  .overview .card, .overview .leading { flex-basis: 100%; }
  .panels { grid-template-columns: 1fr 1fr; }
  .panel.wide { grid-column: 1 / -1; }
}
@media (max-width: 520px) { .panels { grid-template-columns: 1fr; } .panel.wide { grid-column: auto; } }
@media print { .bar { position: static; } .run { break-inside: avoid; } }
`;
