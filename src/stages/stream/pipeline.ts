/** Node's `pipeline()` for an array of stages, with a type check of the items that travel between them. */
import { pipeline as nodePipeline } from 'node:stream/promises'

type Stream = NodeJS.ReadableStream | NodeJS.WritableStream | NodeJS.ReadWriteStream

/** Whether a stage accepts the items of the one before it; streams that are not stages fit. */
type Fits<Before, Stage> = '~in' extends keyof Stage
  ? Before extends { readonly '~out'?: () => infer Out }
    ? '~out' extends keyof Before
      ? Stage extends { readonly '~in'?: (item: infer In) => void }
        ? [Out] extends [In]
          ? true
          : false
        : true
      : true
    : true
  : true

/** The same stages, with `never` for each that does not fit. */
type Fitting<Stages extends readonly unknown[]> = Stages extends readonly [infer First, infer Second, ...infer Rest]
  ? [First, ...Following<First, [Second, ...Rest]>]
  : Stages

type Following<Before, Stages extends readonly unknown[]> = Stages extends readonly [infer First, ...infer Rest]
  ? [Fits<Before, First> extends true ? First : never, ...Following<First, Rest>]
  : []

/**
 * Runs connected stages to their end: `await pipeline([readFile({ path }), readLines(), writeIndex({ path })], { signal })`.
 * @throws the error of a stage; STAGES_MISFIT where a stage gets other items than it accepts
 */
export async function pipeline<const Stages extends readonly [Stream, Stream, ...Stream[]]>(
  stages: Stages & Fitting<Stages>,
  options: { readonly signal?: AbortSignal } = {},
): Promise<void> {
  await nodePipeline(stages as readonly Stream[], options)
}
