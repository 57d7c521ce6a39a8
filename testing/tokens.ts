import { createHmac, generateKeyPairSync, KeyObject, sign } from 'node:crypto'

type Signer = (signed: string) => Buffer

export type Claims = Record<string, unknown>

/** Makes a JWT by hand, with any content. */
export function forgeToken(header: Record<string, unknown>, claims: Claims, signer: Signer): string {
  const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${signed}.${signer(signed).toString('base64url')}`
}

/** Signs with a shared secret, by `sha256` or another hash. */
export function withSecret(secret: string, hash = 'sha256'): Signer {
  return (signed) => createHmac(hash, secret).update(signed).digest()
}

export function withoutSignature(): Buffer {
  return Buffer.alloc(0)
}

/** Signs with an unknown RSA key. */
export function withStrangersKey(): Signer {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return (signed) => sign('sha256', Buffer.from(signed), privateKey)
}

/** Signs with an RSA key, whatever the header says. */
export function withPrivateKey(key: CryptoKey): Signer {
  return (signed) => sign('sha256', Buffer.from(signed), KeyObject.from(key))
}

/** The Unix time this many seconds from now. */
export function secondsFromNow(seconds: number): number {
  return Math.floor(Date.now() / 1000) + seconds
}
