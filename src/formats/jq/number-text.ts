/** Text of a double, in jq's notation: the shortest digits that round-trip. */
export function numberText(value: number): string {
  if (Number.isNaN(value)) return 'null'
  if (Object.is(value, -0)) return '-0'
  const finite = Math.min(Math.max(value, -Number.MAX_VALUE), Number.MAX_VALUE)
  const [mantissa = '', exponentText = '0'] = finite.toExponential().split('e')
  const digits = mantissa.replace(/[-.]/g, '')
  const exponent = Number(exponentText)
  if (exponent < -4 || exponent >= digits.length + 15) {
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
  }
  const sign = finite < 0 ? '-' : ''
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0')
  const fraction = digits.slice(exponent + 1)
  return sign + whole + (fraction === '' ? '' : `.${fraction}`)
}
