import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { withParameters } from '../../src/functions/parameters.ts'
import { createAwsClient } from '../../src/platform/rpc/aws.ts'
import { createServiceFetch, type FetchInit } from '../../src/platform/rpc/http-fetch.ts'
import { createLambdaFetch } from '../../src/platform/rpc/lambda-fetch.ts'
import { type Aws, expectedAuthorization, startAws } from '../../testing/aws.ts'

let aws: Aws
beforeEach(async () => {
  aws = await startAws()
  onTestFinished(() => aws.stop())
})

const send = createServiceFetch()

describe('a signature', () => {
  // From the test suite that AWS publishes for Signature Version 4.
  const published = { keyId: 'AKIDEXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' }
  const vectors = [
    { method: 'GET', signature: '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31' },
    { method: 'POST', signature: '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b' },
  ]

  it.each(vectors)(
    'when our verifier gets the published $method, then it computes the same signature',
    ({ method, signature }) => {
      const authorization = `AWS4-HMAC-SHA256 Credential=${published.keyId}/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=${signature}`
      const headers = { host: 'example.amazonaws.com', 'x-amz-date': '20150830T123600Z', authorization }
      expect(expectedAuthorization({ method, target: '/', headers, body: '' }, published.secret)).toBe(authorization)
    },
  )

  it('when a request is changed, or signed with another key, then it is refused', async () => {
    const thief = { ...aws.variables, AWS_SECRET_ACCESS_KEY: 'another' }
    const request = { path: '/', headers: {}, body: '{}', signal: AbortSignal.timeout(5_000) }
    expect((await createAwsClient('ssm', thief, send)(request)).status).toBe(403)
    const changed = createAwsClient('ssm', aws.variables, (url, init) => send(url, { ...init, body: '{"a":1}' }))
    expect((await changed(request)).status).toBe(403)
  })

  it('when no address is configured, then that of the region is used', async () => {
    const asked: string[] = []
    const listen = (url: string) => {
      asked.push(url)
      return { status: 200, headers: { get: () => null }, text: async () => '' }
    }
    const request = { path: '/x', headers: {}, body: '', signal: AbortSignal.timeout(5_000) }
    const { AWS_ENDPOINT_URL_SSM: _, ...variables } = aws.variables
    const regions = ['eu-central-1', 'us-gov-west-1', 'cn-north-1', 'eusc-de-east-1', 'us-iso-east-1', 'us-isob-east-1']
    for (const AWS_REGION of regions) await createAwsClient('ssm', { ...variables, AWS_REGION }, listen)(request)
    expect(asked).toEqual([
      'https://ssm.eu-central-1.amazonaws.com/x',
      'https://ssm.us-gov-west-1.amazonaws.com/x',
      'https://ssm.cn-north-1.amazonaws.com.cn/x',
      'https://ssm.eusc-de-east-1.amazonaws.eu/x',
      'https://ssm.us-iso-east-1.c2s.ic.gov/x',
      'https://ssm.us-isob-east-1.sc2s.sgov.gov/x',
    ])
  })
})

describe('parameters of SSM', () => {
  const SSM_PARAMETERS = '/shop/dev/service-token,/shop/dev/jwt-secret,/shop/dev/db-pass'
  const variables = () => ({ ...aws.variables, SSM_PARAMETERS })

  it('when they exist, then each becomes the variable of its name', async () => {
    aws.parameters.set('/shop/dev/service-token', 'a').set('/shop/dev/jwt-secret', 'b').set('/shop/dev/db-pass', 'c')
    expect(await withParameters(variables(), send)).toMatchObject({
      SERVICE_TOKEN: 'a',
      JWT_SECRET: 'b',
      DB_PASS: 'c',
    })
    expect(aws.requests).toHaveLength(1)
  })

  it('when a variable is set, then its parameter is not read, unless it is empty', async () => {
    aws.parameters.set('/shop/dev/db-pass', 'c')
    const given = { ...variables(), SERVICE_TOKEN: 'own', JWT_SECRET: 'own', DB_PASS: '' }
    expect(await withParameters(given, send)).toMatchObject({ SERVICE_TOKEN: 'own', DB_PASS: 'c' })
    expect(JSON.parse(aws.requests[0]?.body ?? '').Names).toEqual(['/shop/dev/db-pass'])
  })

  it('when none are named, then SSM is not called', async () => {
    expect(await withParameters(aws.variables, send)).toBe(aws.variables)
    expect(aws.requests).toEqual([])
  })

  it('when some are missing, then each is named, with its variable', async () => {
    aws.parameters.set('/shop/dev/db-pass', 'c')
    await expect(withParameters(variables(), send)).rejects.toMatchObject({
      name: 'EnvError',
      faults: [
        'SERVICE_TOKEN: SSM has no parameter /shop/dev/service-token',
        'JWT_SECRET: SSM has no parameter /shop/dev/jwt-secret',
      ],
    })
  })

  it('when an identity provider issues the tokens, then no JWT secret is missing', async () => {
    aws.parameters.set('/shop/dev/service-token', 'a').set('/shop/dev/db-pass', 'c')
    const given = { ...variables(), JWKS_URL: 'https://id.example/jwks' }
    expect(await withParameters(given, send)).not.toHaveProperty('JWT_SECRET')
  })

  it('when the keys of webhooks are missing, then there are none, and that is no fault', async () => {
    const given = { ...aws.variables, SSM_PARAMETERS: '/shop/dev/db-pass,/shop/dev/webhook-keys' }
    aws.parameters.set('/shop/dev/db-pass', 'c')
    expect(await withParameters(given, send)).not.toHaveProperty('WEBHOOK_KEYS')
    aws.parameters.set('/shop/dev/webhook-keys', 'new,old')
    expect(await withParameters(given, send)).toMatchObject({ DB_PASS: 'c', WEBHOOK_KEYS: 'new,old' })
  })

  it('when SSM refuses, then the error says for what and why', async () => {
    aws.failWith = { status: 400, body: '{"__type":"AccessDeniedException"}' }
    await expect(withParameters(variables(), send)).rejects.toThrow(/\/shop\/dev\/db-pass.*400.*AccessDeniedException/)
  })

  it('when SSM is unreachable, then the error says so', async () => {
    const given = { ...variables(), AWS_ENDPOINT_URL_SSM: 'http://127.0.0.1:1' }
    await expect(withParameters(given, send)).rejects.toThrow(/^SSM can't be reached for \/shop\/dev\/service-token/)
  })
})

describe('an upstream that is a function', () => {
  const call = (url: string, init: Partial<FetchInit> = {}) =>
    createLambdaFetch(createAwsClient('lambda', aws.variables, send))(url, {
      method: 'GET',
      headers: {},
      redirect: 'manual',
      signal: AbortSignal.timeout(5_000),
      ...init,
    })

  it('when it is called, then it gets an event, and its response arrives', async () => {
    aws.functions.set('orders-api-dev', async (event) => ({
      statusCode: 201,
      headers: { 'idempotent-replayed': 'true' },
      body: JSON.stringify(event),
      isBase64Encoded: false,
    }))
    const headers = { authorization: 'Bearer t', 'idempotency-key': 'k' }
    const response = await call('lambda://orders-api-dev/orders?a=ü', { method: 'POST', headers, body: '{"a":"ü"}' })
    expect(response.status).toBe(201)
    expect(response.headers.get('idempotent-replayed')).toBe('true')
    expect(JSON.parse(await response.text())).toEqual({
      direct: true,
      rawPath: '/orders',
      rawQueryString: 'a=%C3%BC',
      headers,
      requestContext: { http: { method: 'POST' }, domainName: 'lambda' },
      isBase64Encoded: false,
      body: '{"a":"ü"}',
    })
  })

  it('when Lambda is at its concurrency limit, then the response is 429', async () => {
    aws.failWith = { status: 429, body: '{}', headers: { 'x-amzn-errortype': 'TooManyRequestsException' } }
    expect((await call('lambda://orders-api-dev/orders')).status).toBe(429)
  })

  it('when it throws, then that does not count as a response of the service', async () => {
    aws.functions.set('orders-api-dev', () => Promise.reject(new Error()))
    await expect(call('lambda://orders-api-dev/orders')).rejects.toThrow(
      'The function orders-api-dev failed: Unhandled',
    )
  })

  it('when it does not exist or may not be called, then the error says which and why', async () => {
    await expect(call('lambda://nobody/orders')).rejects.toThrow(
      "The function nobody can't be invoked: 404 ResourceNotFoundException",
    )
  })
})
