/** Formats numbers for display. */

/** For axes: 1234567 -> 1.23M; 0.000012 -> 1.2e-5 */
export function compact(value: number | null | undefined): string {
  if (value === null) return 'NaN'
  if (value === undefined) return '–'
  const size = Math.abs(value)
  if (size !== 0 && size < 1e-3) return Number(value.toPrecision(3)).toExponential()
  if (size >= 1e9) return `${shortest(value / 1e9)}G`
  if (size >= 1e6) return `${shortest(value / 1e6)}M`
  if (size >= 1e4) return `${shortest(value / 1e3)}k`
  return shortest(value)
}

const shortest = (value: number): string => Number(value.toPrecision(4)).toLocaleString('en-US')

/** 1234567.8 -> 1,234,568 */
export const whole = (value: number): string => Math.round(value).toLocaleString('en-US')

/** 3.14159 -> 3.1416: the same digits in every row of a table. */
export const fixed =
  (digits: number) =>
  (value: number): string =>
    value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })

export const scientific = (value: number): string => (value === 0 ? '0' : value.toExponential(2))

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let [amount, unit] = [value, 0]
  while (amount >= 1000 && unit < units.length - 1) {
    amount /= 1000
    unit++
  }
  return `${unit === 0 || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${units[unit]}`
}

/** 75 s -> 1:15 */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000)
  const two = (value: number): string => String(value).padStart(2, '0')
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60]
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`
}

/** Local time: 2026-11-30 20:07 */
export function dateAndTime(ms: number): string {
  const at = new Date(ms)
  const two = (value: number): string => String(value).padStart(2, '0')
  const date = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join('-')
  return `${date} ${two(at.getHours())}:${two(at.getMinutes())}`
}
