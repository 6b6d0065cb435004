/** Options as given to a stage's factory -> validated options with defaults. */
import type * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { describeIssue } from '../../formats/option-issue.js'

/** @throws OPTION_INVALID with the path of the first invalid option */
export function parseOptions<Schema extends z.ZodType>(
  schema: Schema,
  options: unknown,
  stage: string,
): z.output<Schema> {
  const result = schema.safeParse(options)
  if (result.success) return result.data
  const { path, message } = describeIssue(result.error.issues, options, schema, stage)
  throw new PenstockError('OPTION_INVALID', message, { stage, path: path.join('.') || 'options' }, result.error)
}
