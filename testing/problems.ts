import { expect } from 'vitest'
import type { ApiResponse } from './api-client.ts'

/** Expects a complete problem document (RFC 9457) with this status and code. */
export function expectProblem(response: ApiResponse, status: number, code: string): void {
  expect({ status: response.status, code: response.body.code }).toEqual({ status, code })
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  expect(response.body).toMatchObject({
    type: `urn:problem:${code}`,
    title: expect.stringMatching(/\w/),
    status,
    detail: expect.stringMatching(/\w/),
    request_id: response.headers.get('x-correlation-id'),
  })
}

/** Expects a refusal that names exactly these fields. */
export function expectFaults(response: ApiResponse, paths: string[]): void {
  expectProblem(response, 400, 'validation_failed')
  const faults: { path: string; message: string }[] = response.body.errors
  expect(faults.map(({ path }) => path).sort()).toEqual([...paths].sort())
  for (const { message } of faults) expect(message).toMatch(/\w/)
}

/** Expects a refusal of the orchestrator: a problem document inside its envelope. */
export function expectFailure(response: ApiResponse, status: number, code: string): void {
  expectProblem(response, status, code)
  expect(response.body).toMatchObject({
    success: false,
    correlationId: response.headers.get('x-correlation-id'),
    error: { code, message: response.body.detail, retryable: status === 429 || status >= 500 },
  })
}
