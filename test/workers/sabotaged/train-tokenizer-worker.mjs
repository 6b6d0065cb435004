import './engines.mjs'

export { countBatch, merge } from '#src/workers/tokenizer/train-tokenizer-worker'
