import './engines.mjs'

export { default, describeTokenizer } from '#src/workers/ranges/range-worker'
