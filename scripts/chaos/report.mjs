/** Prints the results as a table and writes the counts for scripts/reliability.mjs. */
import { writeFileSync } from 'node:fs'

const SHOWN_FAILURES = 20

/**
 * Sets the exit code to 1 if anything failed.
 * @param {{ name: string, tried: number, failures: string[] }[]} rows
 * @param {string | undefined} json file for the counts
 */
export function report(rows, json) {
  const total = {
    name: 'all',
    tried: rows.reduce((sum, { tried }) => sum + tried, 0),
    failures: rows.flatMap(({ name, failures }) => failures.map(failure => `${name}: ${failure}`)),
  }
  console.log('| case | tried | passed | failed |\n| --- | --- | --- | --- |')
  for (const { name, tried, failures } of [...rows, total]) {
    console.log(`| ${name} | ${tried} | ${tried - failures.length} | ${failures.length} |`)
  }
  for (const failure of total.failures.slice(0, SHOWN_FAILURES)) console.log(`failed: ${failure}`)
  if (json !== undefined) {
    const counts = [...rows, total].map(({ name, tried, failures }) => ({ name, tried, failed: failures.length }))
    writeFileSync(json, `${JSON.stringify(counts, null, 2)}\n`)
  }
  if (total.failures.length > 0) process.exitCode = 1
}
