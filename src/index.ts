export { type ErrorCode, PenstockError, type Where } from './errors.js'
