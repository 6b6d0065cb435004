import './engines.mjs'

export { countBatch, merge } from '#src/stages/tokenizer-training-worker'
