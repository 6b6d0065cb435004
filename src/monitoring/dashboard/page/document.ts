/** Static HTML of the page; `app.js` fills in everything else. */

export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect width="32" height="32" rx="7" fill="#1f5fa8"/>
<path d="M5 20c4-6 7-6 11 0s7 6 11 0" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round"/>
<path d="M5 12h22" stroke="#fff" stroke-width="3" stroke-linecap="round" opacity=".6"/>
</svg>
`

export const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Penstock</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
<script src="/uplot.js" defer></script>
<script src="/page/app.js" type="module"></script>
</head>
<body>
<header>
  <h1>Penstock</h1>
  <p id="status" role="status">loading</p>
  <div id="theme-control"></div>
</header>
<main>
  <section aria-labelledby="plans-title" id="plans-section" hidden><h2 id="plans-title">Shards</h2><div id="plans"></div></section>
  <section aria-labelledby="runs-title" id="runs-section"><h2 id="runs-title">Runs</h2><div id="runs"></div></section>
  <section aria-labelledby="pipelines-title" id="pipelines-section" hidden><h2 id="pipelines-title">Pipelines</h2><div id="pipelines"></div></section>
  <section aria-labelledby="charts-title" id="charts-section" hidden>
    <div class="bar"><h2 id="charts-title">Metrics</h2><div id="controls" class="controls" role="group" aria-label="Charts"></div></div>
    <div id="charts"></div>
  </section>
  <p id="no-metrics" class="empty" hidden>No metrics yet. They appear here with the first logged step or second of the run.</p>
  <div id="entries-filter" class="controls" role="group" aria-label="Filter" hidden></div>
  <div id="entries-sections">
    <section aria-labelledby="samples-title" id="samples-section" hidden><h2 id="samples-title">Generated texts</h2><div id="samples"></div></section>
    <section aria-labelledby="notes-title" id="notes-section" hidden><h2 id="notes-title">Events</h2><div id="notes"></div></section>
  </div>
  <section aria-labelledby="config-title" id="config-section" hidden><h2 id="config-title">Options</h2><div id="config"></div></section>
</main>
<noscript>This page requires JavaScript.</noscript>
</body>
</html>
`
