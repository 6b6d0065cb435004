/** Connections to ranks, with plain sockets in place of ranks. */
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { encodeFrame } from '#src/training/torch/frames'
import { Ranks } from '#src/training/torch/ranks'
import { temporaryFolder } from '../../stages/support.js'

const folder = temporaryFolder()

/** One of two ranks, connected. */
async function withRank(name: string): Promise<{ ranks: Ranks; rank: Socket }> {
  const path = join(folder, name)
  const ranks = await Ranks.listen(path)
  const rank = connect(path)
  const hello = { kind: 'hello', rank: 0, worldSize: 2, localWorldSize: 1, device: 'cpu', peakFlops: 0 }
  for (const piece of encodeFrame(hello, new Uint8Array(0))) rank.write(piece)
  await ranks.complete()
  return { ranks, rank }
}

const settled = (work: Promise<void>, ms: number): Promise<boolean> =>
  Promise.race([work.then(() => true), new Promise<boolean>(resolve => setTimeout(resolve, ms, false))])

test('a rank that does not end is disconnected after the timeout, if there is one', async () => {
  const limited = await withRank('limited')
  expect(await settled(limited.ranks.close(20), 5000)).toBe(true)
  // Ranks of another machine may take arbitrarily long to write a checkpoint.
  const { ranks, rank } = await withRank('unlimited')
  const closing = ranks.close(undefined)
  expect(await settled(closing, 100)).toBe(false)
  rank.end()
  expect(await settled(closing, 5000)).toBe(true)
})
