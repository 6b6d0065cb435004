/** Legend of a chart: always shows a value for each line, the latest or that at the cursor. */
import { COLOURS } from './colours.js'
import { drawing, element } from './dom.js'

export interface LegendEntry {
  readonly label: string
  readonly colour: number
  /** Whether the line is dashed, as those of held-out metrics are. */
  readonly dashed: boolean
}

export class Legend {
  readonly list = element('ul', { class: 'legend' })
  private values: HTMLElement[] = []
  private shown = ''

  show(entries: readonly LegendEntry[]): void {
    const key = JSON.stringify(entries)
    if (key === this.shown) return
    this.shown = key
    this.values = entries.map(() => element('span', { class: 'value' }))
    const items = entries.map(({ label, colour, dashed }, index) =>
      element(
        'li',
        {},
        lineSample(colour, dashed),
        element('span', { class: 'label', title: label }, label),
        this.values[index]!,
      ),
    )
    this.list.replaceChildren(...items)
  }

  setValues(texts: readonly string[]): void {
    for (const [index, value] of this.values.entries()) {
      if (value.textContent !== texts[index]) value.textContent = texts[index] ?? ''
    }
  }
}

/** A short piece of the line as drawn in the chart. */
export function lineSample(colour: number, dashed: boolean): SVGElement {
  const line = drawing('path', {
    d: 'M1 6H23',
    class: `line-${colour % COLOURS}`,
    ...(dashed ? { 'stroke-dasharray': '5 4' } : {}),
  })
  const mark = dashed ? [drawing('circle', { cx: 12, cy: 6, r: 3.5, class: `mark-${colour % COLOURS}` })] : []
  return drawing(
    'svg',
    { class: 'line', width: 24, height: 12, viewBox: '0 0 24 12', 'aria-hidden': 'true' },
    line,
    ...mark,
  )
}
