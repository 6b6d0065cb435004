/** Style sheet of the page. The run colours have a contrast of at least 3:1 in both themes and are colour-blind safe. */

const LIGHT = `
  color-scheme: light;
  --ground: #f5f7fa; --card: #ffffff; --text: #1b2330; --quiet: #536074; --line: #d5dce6; --accent: #1f5fa8;
  --grid: #e6ebf2; --warn: #a04800; --warn-ground: #fff0e0; --good: #19703a; --bad: #b3261e;
  --run-0: #1f5fa8; --run-1: #b8530b; --run-2: #19703a; --run-3: #9b2f86; --run-4: #6b5b00; --run-5: #5b4bb5; --run-6: #0b7285; --run-7: #a3244a;`

const DARK = `
  color-scheme: dark;
  --ground: #12161d; --card: #1a2029; --text: #e6ebf2; --quiet: #a3b0c2; --line: #323c4a; --accent: #7fb4f0;
  --grid: #29323e; --warn: #ffb870; --warn-ground: #3a2a17; --good: #7bd197; --bad: #ff9a91;
  --run-0: #7fb4f0; --run-1: #f0a060; --run-2: #7bd197; --run-3: #e79ad6; --run-4: #d9c95c; --run-5: #b6a9f5; --run-6: #6fd0e0; --run-7: #ff9fb6;`

export const STYLE = `
:root {${LIGHT}
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif;
}
@media (prefers-color-scheme: dark) { :root:not([data-theme="light"]) {${DARK} } }
:root[data-theme="dark"] {${DARK} }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; background: var(--ground); color: var(--text); }
header {
  display: flex; flex-wrap: wrap; align-items: center; gap: 8px 16px; padding: 10px 20px; position: sticky; top: 0;
  z-index: 200; background: var(--card); border-bottom: 1px solid var(--line);
}
h1 { font-size: 18px; margin: 0; }
h2 { font-size: 15px; margin: 0 0 8px; }
#status { margin: 0; color: var(--quiet); flex: 1; min-width: 90px; }
#controls { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; }
#controls label { display: inline-flex; gap: 6px; align-items: center; }
#controls input[type="range"] { width: 110px; accent-color: var(--accent); }
button, select {
  font: inherit; color: var(--text); background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 4px 10px;
  cursor: pointer;
}
button[aria-pressed="true"] { background: var(--accent); border-color: var(--accent); color: var(--card); }
button:disabled { opacity: 0.45; cursor: default; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
main { max-width: 1800px; margin: 0 auto; padding: 16px 20px 40px; display: grid; gap: 20px; grid-template-columns: minmax(0, 1fr); }
section { min-width: 0; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 6px 12px; border-bottom: 1px solid var(--line); white-space: nowrap; }
tr:last-child td, tr:last-child th { border-bottom: 0; }
thead th { color: var(--quiet); font-weight: 500; font-size: 13px; }
tbody th { font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 8px; vertical-align: -1px; }
${Array.from({ length: 8 }, (_, run) => `.run-${run} { background: var(--run-${run}); }`).join('\n')}
.running, .done { color: var(--good); } .failed { color: var(--bad); } .stopped { color: var(--warn); }
.pipeline + .pipeline { margin-top: 12px; }
.pipeline svg { display: block; overflow: visible; }
.pipeline text { fill: var(--text); font-size: 14px; }
.pipeline .title { font-weight: 600; }
.pipeline .quiet { fill: var(--quiet); font-size: 12px; font-weight: 400; font-variant-numeric: tabular-nums; }
.pipeline .items { text-anchor: end; }
.pipeline .box { fill: var(--ground); stroke: var(--line); }
.pipeline .slowest .box { fill: var(--warn-ground); stroke: var(--warn); stroke-width: 2; }
.pipeline .slowest .state { fill: var(--warn); font-weight: 600; }
.pipeline .edge { fill: none; stroke: var(--quiet); stroke-width: 1.5; }
.pipeline .edge.full { stroke: var(--warn); stroke-width: 3; }
.pipeline .head { fill: var(--quiet); }
.pipeline .track { fill: var(--line); } .pipeline .busy { fill: var(--accent); } .pipeline .slowest .busy { fill: var(--warn); }
#charts { display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); }
.chart { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px 6px; min-width: 0; }
.chart figcaption { display: flex; justify-content: space-between; gap: 12px; font-weight: 600; }
.chart figcaption .latest { color: var(--quiet); font-weight: 400; font-variant-numeric: tabular-nums; }
.chart .plot { min-height: 240px; }
.uplot { font: inherit; } .u-legend { font-size: 12px; text-align: left; color: var(--quiet); }
.u-legend th { padding: 1px 4px; font-weight: 500; border: 0; } .u-legend td { padding: 1px 4px; border: 0; font-variant-numeric: tabular-nums; }
.u-legend .raw { display: none; } .u-inline th, .u-inline td { white-space: normal; overflow-wrap: anywhere; }
.u-legend .u-value { color: var(--text); } .u-inline tr { margin-right: 10px; }
.u-select { background: color-mix(in srgb, var(--accent) 18%, transparent); }
.u-cursor-x, .u-cursor-y { border-color: var(--quiet) !important; }
.entries { margin: 0; padding: 0; list-style: none; background: var(--card); border: 1px solid var(--line); border-radius: 8px; max-height: 320px; overflow-y: auto; }
.entries li { padding: 6px 12px; border-bottom: 1px solid var(--line); display: flex; gap: 12px; }
.entries li:last-child { border-bottom: 0; }
.entries .when { color: var(--quiet); white-space: nowrap; font-variant-numeric: tabular-nums; }
.entries .what { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 0; }
details { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; }
details + details { margin-top: 8px; }
summary { cursor: pointer; }
pre { margin: 8px 0 0; overflow-x: auto; font-size: 13px; }
.empty { color: var(--quiet); margin: 0; }
@media (max-width: 600px) {
  header { padding: 8px 12px; position: static; } main { padding: 12px; gap: 16px; }
  th, td { padding: 6px 8px; } .entries li { flex-direction: column; gap: 2px; }
}
`
