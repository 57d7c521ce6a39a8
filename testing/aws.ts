import { createHash, createHmac, randomBytes } from 'node:crypto'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { Variables } from './fixture.ts'
import { listen } from './listen.ts'

/** A received request. */
export interface SignedRequest {
  method: string
  /** With its query. */
  target: string
  headers: IncomingHttpHeaders
  body: string
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()

/**
 * The `Authorization` that AWS expects, by its documentation ("Create a signed AWS API request"), for the headers, the
 * date and the scope that the request claims to have signed.
 */
export function expectedAuthorization({ method, target, headers, body }: SignedRequest, secret: string): string {
  const given = headers.authorization ?? ''
  const [, keyId = '', date = '', region = '', service = '', signed = ''] =
    /^AWS4-HMAC-SHA256 Credential=(\w+)\/(\d{8})\/([\w-]+)\/(\w+)\/aws4_request, SignedHeaders=([\w;-]+), /.exec(
      given,
    ) ?? []
  const [path = '', query = ''] = target.split('?')
  const canonicalHeaders = signed.split(';').map((name) => `${name}:${String(headers[name]).trim()}\n`)
  const canonical = [method, path, query, canonicalHeaders.join(''), signed, sha256(body)].join('\n')
  const scope = `${date}/${region}/${service}/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, sha256(canonical)].join('\n')
  const key = [date, region, service, 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${secret}`)
  const signature = hmac(key, toSign).toString('hex')
  return `AWS4-HMAC-SHA256 Credential=${keyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`
}

/** A stand-in for AWS. */
export interface Aws {
  /** The variables with which a function reaches it and signs requests. */
  variables: Variables
  /** Values of parameters by name. */
  parameters: Map<string, string>
  /** Responses of functions by name. */
  functions: Map<string, (event: unknown) => Promise<unknown>>
  /** Replaces the next responses. */
  failWith: { status: number; body: string; headers?: Record<string, string> } | undefined
  requests: SignedRequest[]
  stop(): Promise<void>
}

/** SSM and Lambda on this machine. Like AWS, it refuses a request with a wrong signature. */
export async function startAws(): Promise<Aws> {
  const credentials = {
    AWS_ACCESS_KEY_ID: 'ASIAEXAMPLE',
    AWS_SECRET_ACCESS_KEY: randomBytes(30).toString('base64'),
    AWS_SESSION_TOKEN: randomBytes(60).toString('base64'),
  }
  const parameters: Aws['parameters'] = new Map()
  const functions: Aws['functions'] = new Map()
  const aws: Pick<Aws, 'failWith' | 'requests'> = { failWith: undefined, requests: [] }

  const server = createServer(async (incoming, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk)
    const { method = '', url: target = '', headers } = incoming
    const request = { method, target, headers, body: Buffer.concat(chunks).toString() }
    aws.requests.push(request)
    const { status, body, headers: own = {} } = aws.failWith ?? (await answer(request))
    response.writeHead(status, own).end(body)
  })
  const port = await listen(server)

  async function answer(request: SignedRequest) {
    const { headers, target, body } = request
    const isTrusted =
      headers['x-amz-security-token'] === credentials.AWS_SESSION_TOKEN &&
      headers.authorization === expectedAuthorization(request, credentials.AWS_SECRET_ACCESS_KEY)
    if (!isTrusted) return refusal(403, 'InvalidSignatureException')
    if (headers['x-amz-target'] === 'AmazonSSM.GetParameters') return { status: 200, body: JSON.stringify(find(body)) }
    const [, name = ''] = /^\/2015-03-31\/functions\/([\w-]+)\/invocations$/.exec(target) ?? []
    const invoke = functions.get(name)
    if (invoke === undefined) return refusal(404, 'ResourceNotFoundException')
    try {
      return { status: 200, body: JSON.stringify(await invoke(JSON.parse(body))) }
    } catch {
      return { status: 200, body: '{"errorMessage":"…"}', headers: { 'x-amz-function-error': 'Unhandled' } }
    }
  }

  function find(body: string) {
    const { Names, WithDecryption }: { Names: string[]; WithDecryption: boolean } = JSON.parse(body)
    const Parameters = Names.filter((name) => parameters.has(name)).map((Name) => ({
      Name,
      Value: WithDecryption ? parameters.get(Name) : 'encrypted',
    }))
    return { Parameters, InvalidParameters: Names.filter((name) => !parameters.has(name)) }
  }

  return Object.assign(aws, {
    variables: {
      ...credentials,
      AWS_REGION: 'eu-central-1',
      AWS_ENDPOINT_URL_SSM: `http://127.0.0.1:${port}`,
      AWS_ENDPOINT_URL_LAMBDA: `http://127.0.0.1:${port}`,
    },
    parameters,
    functions,
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}

function refusal(status: number, type: string) {
  return { status, body: JSON.stringify({ __type: type }), headers: { 'x-amzn-errortype': type } }
}
