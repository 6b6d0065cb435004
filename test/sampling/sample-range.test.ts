import { describe, expect, it } from 'vitest'
import { chosenRanges, overlapOf } from '#src/sampling/sample-range'

const selection = { sequence_length: 10, reuse_last_target: true, from: 0, to: 1 }
const files = [
  { path: 'a', tokenCount: 101 },
  { path: 'b', tokenCount: 101 },
]
const sameName = (path: string, other: string) => path === other

describe('chosenRanges', () => {
  it('covers the inputs of all samples', () => {
    const stride = 10
    expect(chosenRanges(files, selection)).toEqual([
      { path: 'a', start: 0, end: 100, stride },
      { path: 'b', start: 0, end: 100, stride },
    ])
  })

  it('counts from and to over the samples of all files', () => {
    expect(chosenRanges(files, { ...selection, from: 0.25, to: 0.75 })).toMatchObject([
      { path: 'a', start: 50, end: 100 },
      { path: 'b', start: 0, end: 50 },
    ])
    expect(chosenRanges(files, { ...selection, from: 0.5 })).toMatchObject([{ path: 'b', start: 0, end: 100 }])
  })
})

describe('overlapOf', () => {
  const overlap = (to: number, from: number, heldOut = files.slice(1), sequence_length = 10) =>
    overlapOf(
      chosenRanges(files, { ...selection, to }),
      chosenRanges(heldOut, { ...selection, from, sequence_length }),
      sameName,
    )

  it('finds samples that both ranges use', () => {
    expect(overlap(0.95, 0.8)).toMatchObject({ path: 'b', start: 80, end: 90 })
    expect(overlap(0.95, 0.8, files.slice(0, 1))).toMatchObject({ path: 'a', start: 80, end: 100 })
  })

  it('finds none for adjacent ranges and different files', () => {
    expect(overlap(0.9, 0.8)).toBeUndefined()
    expect(overlap(0.5, 0, [{ path: 'c', tokenCount: 101 }])).toBeUndefined()
  })

  it('ignores less than one sample, which comes from rounding to different sequence lengths', () => {
    expect(overlap(0.9, 0.8, files.slice(1), 7)).toBeUndefined()
    expect(overlap(0.9, 0.7, files.slice(1), 7)).toMatchObject({ start: 70, end: 80 })
  })
})
