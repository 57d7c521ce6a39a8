import { createServer } from 'node:http'
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from 'jose'
import type { Claims } from './tokens.ts'

export const PROVIDER_ALGORITHMS = ['RS256', 'ES256', 'EdDSA'] as const
export type ProviderAlgorithm = (typeof PROVIDER_ALGORITHMS)[number]

interface ProviderKey {
  kid: string
  privateKey: CryptoKey
  /** The public key as text that anyone may have. */
  publicText: string
}

export interface IdentityProvider {
  jwksUrl: string
  keys: Record<ProviderAlgorithm, ProviderKey>
  /** How often its keys were asked for. */
  requests(): number
  /** What it answers from now on, instead of its keys. */
  answer(status: number, body: string): void
  /** A token with these claims and nothing added. */
  sign(alg: ProviderAlgorithm, claims: Claims, header?: { kid: string }): Promise<string>
  stop(): Promise<void>
}

/** An identity provider with a key of each kind, on a port of its own choice or of ours. */
export async function startIdentityProvider(port = 0): Promise<IdentityProvider> {
  const pairs = await Promise.all(PROVIDER_ALGORITHMS.map(makeKey))
  const keys = Object.fromEntries(pairs.map(({ alg, key }) => [alg, key])) as Record<ProviderAlgorithm, ProviderKey>
  let answer = { status: 200, body: JSON.stringify({ keys: pairs.map(({ jwk }) => jwk) }) }
  let requests = 0
  const server = createServer((_, response) => {
    requests++
    response.writeHead(answer.status, { 'content-type': 'application/json', connection: 'close' }).end(answer.body)
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    jwksUrl: `http://127.0.0.1:${address.port}/jwks`,
    keys,
    requests: () => requests,
    answer(status, body) {
      answer = { status, body }
    },
    sign(alg, claims, header = { kid: keys[alg].kid }) {
      return new SignJWT(claims).setProtectedHeader({ alg, ...header }).sign(keys[alg].privateKey)
    },
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

async function makeKey(alg: ProviderAlgorithm): Promise<{ alg: ProviderAlgorithm; key: ProviderKey; jwk: JWK }> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  const kid = `key-${alg}`
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' }
  return { alg, key: { kid, privateKey, publicText: await exportSPKI(publicKey) }, jwk }
}
