/** Formats numbers for display. */

/** 1234567 -> 1.23M; 0.000012 -> 1.2e-5 */
export function compact(value: number | null | undefined): string {
  if (value === null) return 'NaN'
  if (value === undefined) return '–'
  const size = Math.abs(value)
  if (size !== 0 && size < 1e-3) return Number(value.toPrecision(3)).toExponential()
  if (size >= 1e9) return `${(value / 1e9).toFixed(2)}G`
  if (size >= 1e6) return `${(value / 1e6).toFixed(2)}M`
  if (size >= 1e4) return `${(value / 1e3).toFixed(1)}k`
  if (size >= 100 || Number.isInteger(value)) return value.toLocaleString('en-US', { maximumFractionDigits: 1 })
  return String(Number(value.toPrecision(4)))
}

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
