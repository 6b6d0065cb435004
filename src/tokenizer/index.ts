/** The public surface of `penstock/tokenizer`: no `node:` module behind it, so that it works in a browser bundle. */
export { type LoadOptions, loadTokenizer, type Tokenizer } from './tokenizer.js'
