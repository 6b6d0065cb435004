import './engines.mjs'

export { default, describeTokenizer } from '#src/stages/range-worker'
