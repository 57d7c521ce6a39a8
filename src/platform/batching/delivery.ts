import { AppError } from '../core/errors.ts'

/** A caller that waits for the result of its command. */
export interface Waiting<R> {
  resolve: (result: R) => void
  reject: (error: unknown) => void
}

/** Gives a caller what its run found: the result, or the refusal. */
export function deliver<R>({ resolve, reject }: Waiting<R>, result: R | AppError | undefined): void {
  if (result === undefined) reject(new Error('a run left a command without a result'))
  else if (result instanceof AppError) reject(result)
  else resolve(result)
}
