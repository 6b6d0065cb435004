/** Style sheet of the page. The run colours have a contrast of at least 3:1 in both themes and are colour-blind safe. */
import { COLOURS } from './colours.js'

const runs = (rule: (run: number) => string): string =>
  Array.from({ length: COLOURS }, (_, run) => rule(run)).join('\n')

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
  display: flex; align-items: center; gap: 6px 16px; padding: 8px 20px; position: sticky; top: 0; z-index: 200;
  background: var(--card); border-bottom: 1px solid var(--line);
}
h1 { font-size: 17px; margin: 0; }
h2 { font-size: 15px; margin: 0 0 8px; overflow-wrap: anywhere; }
#status { margin: 0; color: var(--quiet); flex: 1; min-width: 0; font-variant-numeric: tabular-nums; }
.bar { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: center; gap: 4px 16px; margin-bottom: 8px; }
.bar h2 { margin: 0; }
.controls { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; font-size: 14px; }
.controls label { display: inline-flex; gap: 6px; align-items: center; }
.controls output { color: var(--quiet); min-width: 2.2em; font-variant-numeric: tabular-nums; }
.controls input[type="range"] { width: 110px; accent-color: var(--accent); }
button, select, input[type="search"] {
  font: inherit; color: var(--text); background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 3px 10px;
}
button, select { cursor: pointer; }
select { max-width: 220px; }
input[type="search"] { width: min(100%, 320px); }
button[aria-pressed="true"] { background: var(--accent); border-color: var(--accent); color: var(--card); }
button:disabled { opacity: 0.45; cursor: default; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
main {
  max-width: 1800px; margin: 0 auto; padding: 14px 20px 40px; display: grid; gap: 16px; grid-template-columns: minmax(0, 1fr);
}
section { min-width: 0; }
.last { order: 1; } #entries-filter, #entries-sections { order: 2; } #config-section { order: 3; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 5px 12px; border-bottom: 1px solid var(--line); white-space: nowrap; }
tr:last-child td, tr:last-child th { border-bottom: 0; }
thead th { color: var(--quiet); font-weight: 500; font-size: 13px; }
tbody th { font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.sort { border: 0; padding: 0; background: none; color: inherit; font-weight: inherit; white-space: nowrap; }
[aria-sort="ascending"] .sort, [aria-sort="descending"] .sort { color: var(--text); font-weight: 600; }
tbody label { display: flex; align-items: center; gap: 8px; }
tbody label .name { overflow: hidden; text-overflow: ellipsis; max-width: 260px; }
tbody input[type="checkbox"] { margin: 0; accent-color: var(--accent); }
.swatch { display: inline-block; flex: none; width: 12px; height: 12px; border-radius: 3px; vertical-align: -1px; }
th .swatch, .when .swatch { margin-right: 6px; } tbody label .swatch { margin: 0; }
${runs(run => `.run-${run} { background: var(--run-${run}); } .line-${run} { stroke: var(--run-${run}); } .mark-${run} { fill: var(--run-${run}); }`)}
.running, .done { color: var(--good); } .failed { color: var(--bad); } .stopped { color: var(--warn); }
.overview { background: var(--card); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.overview dl { display: flex; flex-wrap: wrap; gap: 6px 28px; margin: 0; padding: 10px 14px; }
.overview dt { color: var(--quiet); font-size: 12px; } .overview dd { margin: 0; font-size: 17px; font-weight: 600; font-variant-numeric: tabular-nums; }
.overview .message { margin: 0; padding: 0 14px 10px; overflow-wrap: anywhere; }
#plans { display: grid; gap: 12px; } .plan h3 { font-size: 14px; margin: 0; padding: 8px 14px; overflow-wrap: anywhere; }
progress { display: block; width: 100%; height: 4px; appearance: none; border: 0; background: var(--line); }
progress::-webkit-progress-bar { background: var(--line); } progress::-webkit-progress-value { background: var(--accent); }
progress::-moz-progress-bar { background: var(--accent); }
details { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
summary { cursor: pointer; padding: 6px 12px; }
.pipeline summary .title { font-weight: 600; margin-right: 12px; overflow-wrap: anywhere; } .pipeline summary .state { margin-right: 12px; }
.pipeline summary { font-size: 14px; } .pipeline .facts { color: var(--quiet); font-variant-numeric: tabular-nums; }
#pipelines { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.pipeline { background: none; border: 0; border-radius: 0; } .pipeline + .pipeline { border-top: 1px solid var(--line); }
.pipeline .scroll { border: 0; background: none; }
.pipeline svg { display: block; overflow: visible; }
.pipeline text { fill: var(--text); font-size: 14px; }
.pipeline .quiet { fill: var(--quiet); font-size: 12px; font-weight: 400; font-variant-numeric: tabular-nums; }
.pipeline .items { text-anchor: end; }
.pipeline .box { fill: var(--ground); stroke: var(--line); }
.pipeline .slowest .box { fill: var(--warn-ground); stroke: var(--warn); stroke-width: 2; }
.pipeline .slowest .state { fill: var(--warn); font-weight: 600; }
.pipeline .edge { fill: none; stroke: var(--quiet); stroke-width: 1.5; }
.pipeline .edge.full { stroke: var(--warn); stroke-width: 3; }
.pipeline .head { fill: var(--quiet); }
.pipeline .track { fill: var(--line); } .pipeline .busy { fill: var(--accent); } .pipeline .slowest .busy { fill: var(--warn); }
#charts { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)); }
.chart { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; min-width: 0; }
.chart figcaption { display: flex; justify-content: space-between; gap: 12px; font-weight: 600; font-size: 14px; }
.chart .position { color: var(--quiet); font-weight: 400; font-variant-numeric: tabular-nums; }
.chart .plot { min-height: 250px; }
.legend {
  list-style: none; margin: 2px 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 13px; max-height: 84px; overflow-y: auto;
}
.legend li { display: flex; align-items: center; gap: 6px; min-width: 0; }
.legend .line { flex: none; stroke-width: 2; fill: none; } .legend .line circle { stroke: none; }
.legend .label { color: var(--quiet); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 220px; }
.legend .value { font-weight: 600; font-variant-numeric: tabular-nums; }
.uplot { font: inherit; }
.u-select { background: color-mix(in srgb, var(--accent) 18%, transparent); }
.u-cursor-x, .u-cursor-y { border-color: var(--quiet) !important; }
#entries-sections { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); align-items: start; }
.entries { margin: 0; padding: 0; list-style: none; background: var(--card); border: 1px solid var(--line); border-radius: 8px; max-height: 360px; overflow-y: auto; }
.entries li { padding: 6px 12px; border-bottom: 1px solid var(--line); font-size: 14px; }
.entries li:last-child { border-bottom: 0; }
.entries .when { display: block; color: var(--quiet); font-size: 12px; font-variant-numeric: tabular-nums; }
.entries .what { white-space: pre-wrap; overflow-wrap: anywhere; }
#config { display: grid; gap: 8px; }
pre { margin: 0; padding: 8px 12px; border-top: 1px solid var(--line); overflow-x: auto; font-size: 13px; }
.empty { color: var(--quiet); margin: 0; }
@media (min-width: 900px) { .chart:first-child:not(:only-child) { grid-column: span 2; } }
@media (max-width: 600px) {
  header { padding: 6px 12px; position: static; } main { padding: 10px 12px; gap: 12px; }
  th, td { padding: 5px 8px; } .overview dl { gap: 4px 20px; padding: 8px 12px; } .overview dd { font-size: 15px; }
  td.state, th.state { display: none; } tbody label .name { max-width: 100px; } thead tr > th { font-size: 12px; }
  .controls { gap: 6px 10px; } .controls input[type="range"] { width: 90px; }
}
`
