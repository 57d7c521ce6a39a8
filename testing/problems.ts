import { expect } from 'vitest'
import type { ApiAnswer } from './api-client.ts'

/** Expects a whole problem document (RFC 9457) with this status and code. */
export function expectProblem(answer: ApiAnswer, status: number, code: string): void {
  expect({ status: answer.status, code: answer.body.code }).toEqual({ status, code })
  expect(answer.headers.get('content-type')).toBe('application/problem+json')
  expect(answer.body).toMatchObject({
    type: `urn:problem:${code}`,
    title: expect.stringMatching(/\w/),
    status,
    detail: expect.stringMatching(/\w/),
    request_id: answer.headers.get('x-correlation-id'),
  })
}

/** Expects a refused body or query that names these fields, and no others, as faulty. */
export function expectFaults(answer: ApiAnswer, paths: string[]): void {
  expectProblem(answer, 400, 'validation_failed')
  const faults: { path: string; message: string }[] = answer.body.errors
  expect(faults.map(({ path }) => path).sort()).toEqual([...paths].sort())
  for (const { message } of faults) expect(message).toMatch(/\w/)
}

/** Expects the orchestrator's refusal: a problem document that carries its envelope too. */
export function expectFailure(answer: ApiAnswer, status: number, code: string): void {
  expectProblem(answer, status, code)
  expect(answer.body).toMatchObject({
    success: false,
    correlationId: answer.headers.get('x-correlation-id'),
    error: { code, message: answer.body.detail, retryable: status === 429 || status >= 500 },
  })
}
