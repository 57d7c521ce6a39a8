import { z } from 'zod'
import type { AwsRequest } from './aws.ts'
import type { Fetch, Fetched, FetchInit } from './http-fetch.ts'

/** The URL scheme of a service that is a Lambda function, such as `lambda://customers-api-dev`. */
export const LAMBDA = 'lambda:'

const Result = z.object({
  statusCode: z.int(),
  headers: z.record(z.string(), z.string()).default({}),
  body: z.string().default(''),
})

/**
 * A `fetch` that invokes a function, for URLs such as `lambda://customers-api-dev/internal/customers/1`. Only holders
 * of the right to invoke the function can send such a request, and no gateway lies between.
 * @throws Error when the function can't be invoked, or ends without a response
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
    // Lambda's concurrency limit is reached: callers handle this like any other 429.
    if (invoked.status === 429) return { status: 429, headers: { get: () => null }, text: async () => '' }
    const failure = invoked.headers.get('x-amz-function-error')
    if (invoked.status !== 200 || failure !== null) throw new Error(failureOf(hostname, invoked, failure))
    const { statusCode, headers, body } = Result.parse(JSON.parse(await invoked.text()))
    return { status: statusCode, headers: { get: (name) => headers[name] ?? null }, text: async () => body }
  }
}

/**
 * The event for an invocation: an HTTP API's event with `direct` added. A gateway makes its own events, so its callers
 * can't add `direct`.
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
