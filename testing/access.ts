import { randomBytes } from 'node:crypto'
import { expect } from 'vitest'
import { SCOPES } from '../src/compose/modules.ts'
import type { ApiRequest, ApiResponse } from './api-client.ts'
import { contractCheck } from './contract-check.ts'
import { type Operation, operationsOf, readDocuments, scopeOf } from './openapi.ts'
import { expectProblem } from './problems.ts'
import type { TestSystem } from './system.ts'
import { type Claims, forgeToken, secondsFromNow, withoutSignature, withSecret, withStrangersKey } from './tokens.ts'

// For tests of authorization: every route, valid and invalid tokens, and the expected responses.

const documents = await readDocuments()
const { expectDocumented } = contractCheck(documents)
export const operations = operationsOf(documents)
export const needingScope = operations.filter((operation) => scopeOf(operation) !== undefined)
export const internal = operations.filter(({ security }) => security.some(({ serviceToken }) => serviceToken))
/** Internal routes with an identity provider, whose clients this system does not know. */
export const internalOfProvider = internal.filter(({ path }) => path !== '/internal/clients/{id}')
export const titled = (some: Operation[]) => some.map((operation): [string, Operation] => [operation.title, operation])

export const JWT_SECRET = randomBytes(32).toString('hex')
export const SERVICE_TOKENS = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')] as const
export const ENVIRONMENT = { JWT_SECRET, SERVICE_TOKEN: SERVICE_TOKENS.join(','), ORCHESTRATOR_PUBLIC: 'false' }

/** All claims that a token must have, with every scope. */
export const goodClaims = (): Claims => ({
  iss: 'b2b-orders',
  aud: 'b2b-orders',
  sub: 'suite',
  scope: SCOPES.join(' '),
  iat: secondsFromNow(0),
  exp: secondsFromNow(600),
})

export const HS256 = { alg: 'HS256', typ: 'JWT' }
export const withClaims = (claims: Claims) => forgeToken(HS256, { ...goodClaims(), ...claims }, withSecret(JWT_SECRET))
export const goodToken = () => withClaims({})

/** Asks for a missing row without a body, so that a request that gets in changes nothing. */
export function ask(
  system: TestSystem,
  { service, method, path }: Operation,
  request: ApiRequest,
): Promise<ApiResponse> {
  return system[service].call(method, path.replace('{id}', '999999999'), request)
}

export function expectRefusal(
  { service, method, path }: Operation,
  response: ApiResponse,
  status: number,
  code: string,
): void {
  expectProblem(response, status, code)
  expectDocumented(service, method, path, response)
}

export function expectInvalidToken(operation: Operation, response: ApiResponse): void {
  expectRefusal(operation, response, 401, 'invalid_token')
  expect(response.headers.get('www-authenticate')).toBe('Bearer realm="b2b-orders", error="invalid_token"')
}

export function expectOpen({ service, method, path }: Operation, response: ApiResponse): void {
  expectDocumented(service, method, path, response)
  expect([200, 400, 404, 415]).toContain(response.status)
}

export const BAD_TOKENS: Record<string, () => string> = {
  'is no token at all': () => 'nonsense',
  'has two parts': () => goodToken().split('.').slice(0, 2).join('.'),
  'has four parts': () => `${goodToken()}.e30`,
  'is signed with another secret': () => forgeToken(HS256, goodClaims(), withSecret('another')),
  'is signed with the empty secret': () => forgeToken(HS256, goodClaims(), withSecret('')),
  'has lost its signature': () => forgeToken(HS256, goodClaims(), withoutSignature),
  'was changed after it was signed': () => {
    const [header, , signature] = withClaims({ scope: '' }).split('.')
    return [header, goodToken().split('.')[1], signature].join('.')
  },
  'says alg none': () => forgeToken({ alg: 'none' }, goodClaims(), withoutSignature),
  'says alg None': () => forgeToken({ alg: 'None' }, goodClaims(), withoutSignature),
  'says alg none and is signed': () => forgeToken({ alg: 'none' }, goodClaims(), withSecret(JWT_SECRET)),
  'says no alg': () => forgeToken({ typ: 'JWT' }, goodClaims(), withSecret(JWT_SECRET)),
  'is HS512': () => forgeToken({ alg: 'HS512' }, goodClaims(), withSecret(JWT_SECRET, 'sha512')),
  'says RS256 and is signed with our secret': () => forgeToken({ alg: 'RS256' }, goodClaims(), withSecret(JWT_SECRET)),
  'brings the key that it is signed with': () => {
    const jwk = { kty: 'oct', k: Buffer.from('mine').toString('base64url') }
    return forgeToken({ ...HS256, jwk }, goodClaims(), withSecret('mine'))
  },
  "is RS256 by a stranger's key": () => forgeToken({ alg: 'RS256' }, goodClaims(), withStrangersKey()),
  'has expired': () => withClaims({ iat: secondsFromNow(-700), exp: secondsFromNow(-60) }),
  'is not valid yet': () => withClaims({ nbf: secondsFromNow(300) }),
  'never expires': () => withClaims({ exp: undefined }),
  'expires in words': () => withClaims({ exp: 'tomorrow' }),
  'is of another issuer': () => withClaims({ iss: 'somebody' }),
  'is of no issuer': () => withClaims({ iss: undefined }),
  'is for another audience': () => withClaims({ aud: 'another-api' }),
  'is for no audience': () => withClaims({ aud: undefined }),
  'is of nobody': () => withClaims({ sub: undefined }),
  'is bound to no real customer': () => withClaims({ customer_id: 0 }),
}
