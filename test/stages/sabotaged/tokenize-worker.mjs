import './engines.mjs'

export { default, describeTokenizer } from '#src/stages/tokenize-worker'
