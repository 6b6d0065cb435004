import { expect, test } from 'vitest'
import { encodeFrame, FrameDecoder } from '#src/training/torch/frames'

const frames = [
  { header: { kind: 'step', learning_rate: 0.25, shapes: [[2, 3]] }, payload: new Uint8Array([1, 2, 3, 4, 5]) },
  { header: { kind: 'close' }, payload: new Uint8Array(0) },
  { header: { kind: 'logits', none: null, far: 2 ** 40 }, payload: new Uint8Array(3000).fill(7) },
]

test.each([1, 2, 3, 7, 1000, 1e6])('decodes frames from chunks of %i bytes', size => {
  const bytes = Buffer.concat(frames.flatMap(({ header, payload }) => encodeFrame(header, payload)))
  const decoder = new FrameDecoder()
  const found = []
  for (let start = 0; start < bytes.length; start += size) {
    found.push(...decoder.push(bytes.subarray(start, start + size)))
  }
  expect(found).toHaveLength(frames.length)
  for (const [index, { header, payload }] of frames.entries()) {
    expect(found[index]!.header).toEqual({ ...header, bytes: payload.length })
    expect([...found[index]!.payload]).toEqual([...payload])
  }
})
