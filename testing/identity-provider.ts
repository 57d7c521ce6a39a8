import { createServer } from 'node:http'
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from 'jose'
import { listen } from './listen.ts'
import type { Claims } from './tokens.ts'

export const PROVIDER_ALGORITHMS = ['RS256', 'ES256', 'EdDSA'] as const
export type ProviderAlgorithm = (typeof PROVIDER_ALGORITHMS)[number]

interface ProviderKey {
  kid: string
  privateKey: CryptoKey
  /** The public key as PEM. */
  publicText: string
}

export interface IdentityProvider {
  jwksUrl: string
  keys: Record<ProviderAlgorithm, ProviderKey>
  /** How often its keys were requested. */
  requests(): number
  /** From now on it gives this response instead of its keys. */
  respond(status: number, body: string, headers?: Record<string, string>): void
  /** From now on it serves these keys besides its own. */
  addKeys(...keys: unknown[]): void
  /** From now on requests get no response. */
  hang(): void
  /** A token with exactly these claims. */
  sign(alg: ProviderAlgorithm, claims: Claims, header?: Record<string, unknown>): Promise<string>
  stop(): Promise<void>
}

/** An identity provider with a key of each algorithm. @param port 0 for a free one */
export async function startIdentityProvider(port = 0): Promise<IdentityProvider> {
  const pairs = await Promise.all(PROVIDER_ALGORITHMS.map(makeKey))
  const keys = Object.fromEntries(pairs.map(({ alg, key }) => [alg, key])) as Record<ProviderAlgorithm, ProviderKey>
  const own: unknown[] = pairs.map(({ jwk }) => jwk)
  const type = { 'content-type': 'application/json' }
  let next = { status: 200, body: JSON.stringify({ keys: own }), headers: {} }
  let hangs = false
  let requests = 0
  const server = createServer((_, response) => {
    requests++
    if (hangs) return
    const headers = { ...type, connection: 'close', ...next.headers }
    response.writeHead(next.status, headers).end(next.body)
  })
  const actualPort = await listen(server, port)
  return {
    jwksUrl: `http://127.0.0.1:${actualPort}/jwks`,
    keys,
    requests: () => requests,
    respond(status, body, headers = {}) {
      next = { status, body, headers }
    },
    addKeys(...more) {
      next = { status: 200, body: JSON.stringify({ keys: [...more, ...own] }), headers: {} }
    },
    hang() {
      hangs = true
    },
    sign(alg, claims, header = {}) {
      return new SignJWT(claims).setProtectedHeader({ alg, kid: keys[alg].kid, ...header }).sign(keys[alg].privateKey)
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function makeKey(alg: ProviderAlgorithm): Promise<{ alg: ProviderAlgorithm; key: ProviderKey; jwk: JWK }> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  const kid = `key-${alg}`
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' }
  return { alg, key: { kid, privateKey, publicText: await exportSPKI(publicKey) }, jwk }
}
