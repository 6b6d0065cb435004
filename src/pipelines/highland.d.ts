/** Types for the part of highland 2 that `wiring.ts` uses; the package ships none. */
declare module 'highland' {
  interface HighlandStream<T> {
    fork(): HighlandStream<T>
    errors(handle: (error: Error) => void): HighlandStream<T>
    pipe(to: NodeJS.WritableStream): NodeJS.WritableStream
    destroy(): void
  }
  export default function highland<T>(from: NodeJS.ReadableStream): HighlandStream<T>
}
