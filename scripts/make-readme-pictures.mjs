/**
 * Makes the pictures of the README from the run of the quickstart in data/quickstart: docs/dashboard.png, the first screen of
 * its dashboard, and docs/quickstart.svg, its pipelines. Needs Chromium: PENSTOCK_CHROMIUM, or /usr/bin/chromium.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const inRepository = path => fileURLToPath(new URL(`../${path}`, import.meta.url))
const MAIN = inRepository('dist/cli/main.js')
const RUN = 'data/quickstart/run'
const PICTURE = inRepository('docs/dashboard.png')
const MAX_BYTES = 200_000

execFileSync(process.execPath, [
  MAIN,
  'graph',
  inRepository('configs/quickstart.yaml'),
  '-o',
  inRepository('docs/quickstart.svg'),
])
const view = spawn(process.execPath, [MAIN, 'view', RUN], { stdio: ['ignore', 'pipe', 'inherit'] })
const browser = await chromium.launch({
  executablePath: process.env.PENSTOCK_CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
})
try {
  const [address] = await Promise.race([
    once(view.stdout, 'data'),
    once(view, 'exit').then(() => {
      throw new Error(`run npm run quickstart first: there is no log in ${RUN}`)
    }),
  ])
  const page = await browser.newPage({ viewport: { width: 1280, height: 672 }, colorScheme: 'light' })
  await page.goto(String(address).trim())
  await page.waitForSelector('.chart canvas')
  await page.screenshot({ path: PICTURE })
} finally {
  await browser.close()
  view.kill()
}
const { size } = statSync(PICTURE)
if (size > MAX_BYTES) throw new Error(`${PICTURE} has ${size} bytes, more than ${MAX_BYTES}`)
console.log(`${PICTURE}: ${Math.round(size / 1000)} kB`)
