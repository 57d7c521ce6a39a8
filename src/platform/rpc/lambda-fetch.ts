import { z } from 'zod'
import type { AwsRequest } from './aws.ts'
import type { Fetch, Fetched, FetchInit } from './http-fetch.ts'

/** The scheme of a service that is a function: `lambda://customers-api-dev`. */
export const LAMBDA = 'lambda:'

const Result = z.object({
  statusCode: z.int(),
  headers: z.record(z.string(), z.string()).default({}),
  body: z.string().default(''),
})

/**
 * A `fetch` for addresses such as `lambda://customers-api-dev/internal/customers/1`: it invokes that function. Nobody
 * can send such a request who has not the right to invoke it, and no gateway lies between.
 * @throws Error when the function could not be invoked, or ended without an answer
 */
export function createLambdaFetch(post: (request: AwsRequest) => Promise<Fetched>): Fetch {
  return async (url, init) => {
    const { hostname } = new URL(url)
    const invoked = await post({
      path: `/2015-03-31/functions/${hostname}/invocations`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(invocationOf(url, init)),
      signal: init.signal,
    })
    // More instances are busy than there may be: what a caller does with 429 is right here too.
    if (invoked.status === 429) return { status: 429, headers: { get: () => null }, text: async () => '' }
    const failure = invoked.headers.get('x-amz-function-error')
    if (invoked.status !== 200 || failure !== null) throw new Error(failureOf(hostname, invoked, failure))
    const { statusCode, headers, body } = Result.parse(JSON.parse(await invoked.text()))
    return { status: statusCode, headers: { get: (name) => headers[name] ?? null }, text: async () => body }
  }
}

/**
 * The event of such a request: like that of an HTTP API, with `direct` besides. A gateway makes its events itself, so no
 * caller of it can add that.
 */
function invocationOf(url: string, { method, headers, body }: FetchInit) {
  const { pathname, search } = new URL(url)
  return {
    direct: true,
    rawPath: pathname,
    rawQueryString: search.slice(1),
    headers,
    requestContext: { http: { method }, domainName: 'lambda' },
    isBase64Encoded: false,
    ...(body !== undefined && { body }),
  }
}

function failureOf(name: string, { status, headers }: Fetched, failure: string | null): string {
  if (failure !== null) return `The function ${name} failed: ${failure}`
  return `The function ${name} can't be invoked: ${status} ${headers.get('x-amzn-errortype') ?? ''}`.trimEnd()
}
