import { AppError } from '../core/errors.ts'
import type { Span } from './spans.ts'

/** Ends the span of work that threw. A refusal is no failure: something was decided. */
export function endFailed(span: Span, error: unknown): void {
  if (!(error instanceof AppError) || error.status >= 500) span.end(failureOf(error))
  else {
    span.set({ 'b2b.refusal': error.code })
    span.end()
  }
}

/** The code of an error, never its message, which can have values. */
export function failureOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  return 'failed'
}
