/** Static files of the page, read once: our compiled modules and uPlot from its package. No other site is contacted. */
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { ICON, PAGE } from './page/document.js'
import { STYLE } from './page/style.js'

export interface PageFile {
  readonly type: string
  readonly body: string
}

const JAVASCRIPT = 'text/javascript; charset=utf-8'
const CSS = 'text/css; charset=utf-8'

/** Static files by URL path. */
export function pageFiles(): ReadonlyMap<string, PageFile> {
  const uplot = join(dirname(createRequire(import.meta.url).resolve('uplot/package.json')), 'dist')
  const own = new URL('./page/', import.meta.url)
  const modules = readdirSync(own).filter(name => name.endsWith('.js'))
  return new Map([
    ['/', { type: 'text/html; charset=utf-8', body: PAGE }],
    ['/icon.svg', { type: 'image/svg+xml', body: ICON }],
    ['/style.css', { type: CSS, body: readFileSync(join(uplot, 'uPlot.min.css'), 'utf8') + STYLE }],
    ['/uplot.js', { type: JAVASCRIPT, body: readFileSync(join(uplot, 'uPlot.iife.min.js'), 'utf8') }],
    // The only module that page and server share, at the URL to which the import in the page resolves.
    ['/pipeline-graph.js', { type: JAVASCRIPT, body: moduleText(new URL('../../pipeline-graph.js', own)) }],
    ...modules.map(name => [`/page/${name}`, { type: JAVASCRIPT, body: moduleText(new URL(name, own)) }] as const),
  ])
}

/** Module source without the source map comment, since source maps are not served. */
const moduleText = (file: URL): string => readFileSync(file, 'utf8').replace(/^\/\/# sourceMappingURL=.*$/m, '')
