/**
 * Reference operations of the model: textbook definitions as plain loops in double precision. Gradients are central
 * differences of them, so that the tests do not depend on derived formulas.
 */

/** Row-major. */
export interface Matrix {
  readonly shape: readonly number[]
  readonly values: Float64Array
}

export type Inputs = Readonly<Record<string, Matrix>>
export type Forward = (inputs: Inputs) => Matrix

/** Gradient of sum(upstream * forward(inputs)) with respect to one of the inputs. */
export function numericalGradient(
  forward: Forward,
  inputs: Inputs,
  name: string,
  upstream: Float64Array,
): Float64Array {
  const { shape, values } = inputs[name]!
  const distance = 1e-5
  const along = (index: number, change: number) => {
    const moved = values.slice()
    moved[index] = moved[index]! + change
    const result = forward({ ...inputs, [name]: { shape, values: moved } })
    return result.values.reduce((sum, value, at) => sum + value * upstream[at]!, 0)
  }
  return values.map((_, index) => (along(index, distance) - along(index, -distance)) / (2 * distance))
}

function matrix(shape: readonly number[], valueAt: (index: number) => number): Matrix {
  const size = shape.reduce((product, length) => product * length, 1)
  return { shape, values: Float64Array.from({ length: size }, (_, index) => valueAt(index)) }
}

function sum(count: number, term: (index: number) => number): number {
  let total = 0
  for (let index = 0; index < count; index++) {
    total += term(index)
  }
  return total
}

/** y = x W^T + b */
export function linear({ input, weight, bias }: Inputs): Matrix {
  const [rows, into] = input!.shape as [number, number]
  const out = weight!.shape[0]!
  return matrix([rows, out], index => {
    const [row, column] = [Math.floor(index / out), index % out]
    const product = sum(into, k => input!.values[row * into + k]! * weight!.values[column * into + k]!)
    return product + (bias?.values[column] ?? 0)
  })
}

export function add({ a, b }: Inputs): Matrix {
  return matrix(a!.shape, index => a!.values[index]! + b!.values[index]!)
}

/** Zhang and Sennrich 2019 for 'rms', Ba et al. 2016 for 'layer'. */
export function normalization(kind: 'rms' | 'layer', eps: number): Forward {
  return ({ input, weight, bias }) => {
    const width = input!.shape[1]!
    return matrix(input!.shape, index => {
      const [start, column] = [index - (index % width), index % width]
      const at = (k: number) => input!.values[start + k]!
      const mean = kind === 'layer' ? sum(width, at) / width : 0
      const variance = sum(width, k => (at(k) - mean) ** 2) / width
      const normal = (at(column) - mean) / Math.sqrt(variance + eps)
      return normal * weight!.values[column]! + (bias?.values[column] ?? 0)
    })
  }
}

/** x times the normal distribution, Hendrycks and Gimpel 2016. */
export function gelu({ input }: Inputs): Matrix {
  return matrix(input!.shape, index => {
    const x = input!.values[index]!
    return (x * (1 + errorFunction(x / Math.SQRT2))) / 2
  })
}

/** By its Taylor series; good to double precision for arguments up to 4. */
function errorFunction(x: number): number {
  let [term, total] = [x, x]
  for (let n = 1; n < 120; n++) {
    term *= (-x * x) / n
    total += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * total
}

/** Shazeer 2020: silu(gate) * up */
export function swiglu({ gate, up }: Inputs): Matrix {
  return matrix(gate!.shape, index => {
    const x = gate!.values[index]!
    return (x / (1 + Math.exp(-x))) * up!.values[index]!
  })
}

/** [batch * time, heads * width] -> [batch, heads, time, width], rotated as Su et al. 2021 with halves for pairs. */
export function toHeads(batch: number, heads: number, rotaryBase: number | undefined): Forward {
  return ({ input }) => {
    const time = input!.shape[0]! / batch
    const width = input!.shape[1]! / heads
    const half = width / 2
    return matrix([batch, heads, time, width], index => {
      const column = index % width
      const position = Math.floor(index / width) % time
      const head = Math.floor(index / (width * time)) % heads
      const sample = Math.floor(index / (width * time * heads))
      const from = ((sample * time + position) * heads + head) * width
      const own = input!.values[from + column]!
      if (rotaryBase === undefined) {
        return own
      }
      const angle = position * rotaryBase ** ((-2 * (column % half)) / width)
      const other = input!.values[from + ((column + half) % width)]!
      return own * Math.cos(angle) + (column < half ? -other : other) * Math.sin(angle)
    })
  }
}

/** The inverse of `toHeads` without rotation. */
export function fromHeads({ input }: Inputs): Matrix {
  const [batch, heads, time, width] = input!.shape as [number, number, number, number]
  return matrix([batch * time, heads * width], index => {
    const column = index % width
    const head = Math.floor(index / width) % heads
    const position = Math.floor(index / (width * heads)) % time
    const sample = Math.floor(index / (width * heads * time))
    return input!.values[((sample * heads + head) * time + position) * width + column]!
  })
}

/** Vaswani et al. 2017 with a causal mask; groups of query heads share a key head, Ainslie et al. 2023. */
export function attention({ query, key, value }: Inputs): Matrix {
  const [, heads, time, width] = query!.shape as [number, number, number, number]
  const group = heads / key!.shape[1]!
  return matrix(query!.shape, index => {
    const column = index % width
    const position = Math.floor(index / width) % time
    const queryRow = index - column
    const keyRow = Math.floor(Math.floor(index / (width * time)) / group) * time * width
    const scores = Array.from({ length: position + 1 }, (_, other) => {
      const product = sum(width, k => query!.values[queryRow + k]! * key!.values[keyRow + other * width + k]!)
      return Math.exp(product / Math.sqrt(width))
    })
    const total = sum(scores.length, other => scores[other]!)
    return sum(scores.length, other => scores[other]! * value!.values[keyRow + other * width + column]!) / total
  })
}

/** Summed over the targets that are not negative. */
export function crossEntropy(targets: readonly number[]): Forward {
  return ({ logits }) => {
    const width = logits!.shape[1]!
    const loss = sum(targets.length, row => {
      const at = (column: number) => logits!.values[row * width + column]!
      return targets[row]! < 0 ? 0 : Math.log(sum(width, column => Math.exp(at(column)))) - at(targets[row]!)
    })
    return matrix([], () => loss)
  }
}

export function embed(ids: readonly number[]): Forward {
  return ({ table }) => {
    const width = table!.shape[1]!
    return matrix(
      [ids.length, width],
      index => table!.values[ids[Math.floor(index / width)]! * width + (index % width)]!,
    )
  }
}
