import './engines.mjs'

export { default, describeTokenizer } from '#src/workers/tokenizer/tokenize-worker'
