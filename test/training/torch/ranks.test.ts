/** Connections to ranks, with plain sockets in place of ranks. */
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { encodeFrame, FrameDecoder } from '#src/training/torch/frames'
import { Ranks } from '#src/training/torch/ranks'
import { temporaryFolder } from '../../stages/support.js'

const folder = temporaryFolder()

/** One of two ranks, connected. */
async function withRank(name: string): Promise<{ ranks: Ranks; rank: Socket }> {
  const path = join(folder, name)
  const ranks = await Ranks.listen(path, join(folder, 'reports'))
  const rank = connectRank(path, 0, 1)
  await ranks.complete()
  return { ranks, rank }
}

function connectRank(path: string, number: number, localWorldSize: number): Socket {
  const rank = connect(path)
  send(rank, { kind: 'hello', rank: number, worldSize: 2, localWorldSize, device: 'cpu', deviceName: '' })
  return rank
}

function send(rank: Socket, header: Record<string, unknown>): void {
  for (const piece of encodeFrame(header, new Uint8Array(0))) rank.write(piece)
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

test('a command without an answer fails in time and names the rank that does not respond', async () => {
  const path = join(folder, 'silent')
  const ranks = await Ranks.listen(path, join(folder, 'reports'))
  // Rank 0 waits for rank 1, but writes a report; rank 1 is silent.
  const waiting = connectRank(path, 0, 2)
  const silent = connectRank(path, 1, 2)
  const decoder = new FrameDecoder()
  waiting.on('data', chunk => {
    for (const { header } of decoder.push(chunk)) {
      if (header.kind === 'report') send(waiting, { kind: 'report', files: [`stacks in ${header.folder}`] })
    }
  })
  await ranks.complete()
  await expect(ranks.ask(() => ({ header: { kind: 'step' } }), 50)).rejects.toMatchObject({
    code: 'ENGINE_FAILED',
    message: expect.stringMatching(/rank 1 does not respond.*: stacks in .*reports/),
  })
  ranks.disconnect()
  silent.destroy()
})
