/** The public surface of `penstock-ml`. */
export { type ErrorCode, PenstockError, type Where } from './errors.js'
export * from './pipelines/index.js'
export * from './stages/index.js'
