import './engines.mjs'

export { default, describeTokenizer, writeChunk } from '#src/workers/ranges/range-worker'
