/** The public surface of `penstock`. */
export { type ErrorCode, PenstockError, type Where } from './errors.js'
export * from './pipelines/index.js'
export * from './stages/index.js'
