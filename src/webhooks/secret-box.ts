import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

// A stored secret is `v1.<id of the key>.<base64url of nonce, ciphertext and tag>`. The key's id comes from the same text
// as the key, by another derivation, so it says which key it was and nothing more about it.

const VERSION = 'v1'
const ALGORITHM = 'aes-256-gcm'
const KEY_BYTES = 32
const KEY_ID_BYTES = 6
const NONCE_BYTES = 12
const TAG_BYTES = 16
const SALT = 'b2b-orders webhook secrets'

const SEALED = /^v1\.([\w-]{8})\.([\w-]{38,})$/

interface Key {
  id: string
  bytes: Uint8Array
}

/** A stored secret that can't be opened. The message names no secret and no key. */
export class SealedSecretError extends Error {
  readonly reason: 'malformed' | 'unknown_key' | 'not_authentic'

  constructor(reason: SealedSecretError['reason'], message: string) {
    super(message)
    this.name = 'SealedSecretError'
    this.reason = reason
  }
}

/** Encrypts secrets for the database. What was sealed for an endpoint's id opens for that id only. */
export interface SecretBox {
  seal(secret: string, endpointId?: string | number): string
  /** @throws SealedSecretError */
  open(sealed: string, endpointId?: string | number): string
  /** What everything begins with that the first key sealed. */
  prefix: string
  /** Whether the first key sealed it. Another one may be removed from WEBHOOK_KEYS only when nothing needs it any more. */
  isCurrent(sealed: string): boolean
}

/**
 * A box for keys of any length: the first seals, all open.
 * @returns undefined without keys
 */
export function createSecretBox(keyTexts: readonly string[]): SecretBox | undefined {
  const keys = keyTexts.map(keyOf)
  const [current] = keys
  if (current === undefined) return undefined
  const prefix = `${VERSION}.${current.id}.`
  return {
    seal: (secret, endpointId) => seal(current, secret, endpointId),
    open: (sealed, endpointId) => open(keys, sealed, endpointId),
    prefix,
    isCurrent: (sealed) => sealed.startsWith(prefix),
  }
}

/** Opens a sealed secret. @returns undefined when its key is missing, or it was changed */
export function openIfPossible(box: SecretBox, sealed: string, endpointId: number): string | undefined {
  try {
    return box.open(sealed, endpointId)
  } catch (error) {
    if (error instanceof SealedSecretError) return undefined
    throw error
  }
}

function keyOf(text: string): Key {
  return { id: derive(text, 'id', KEY_ID_BYTES).toString('base64url'), bytes: derive(text, 'key', KEY_BYTES) }
}

function derive(text: string, use: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', text, SALT, `${VERSION} ${use}`, length))
}

function seal({ id, bytes }: Key, secret: string, endpointId?: string | number): string {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(ALGORITHM, bytes, nonce).setAAD(contextOf(id, endpointId))
  const ciphertext = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()])
  return `${VERSION}.${id}.${Buffer.concat([nonce, ciphertext, cipher.getAuthTag()]).toString('base64url')}`
}

function open(keys: readonly Key[], sealed: string, endpointId?: string | number): string {
  const [, keyId = '', content] = SEALED.exec(sealed) ?? []
  if (content === undefined) throw new SealedSecretError('malformed', 'A stored webhook secret is malformed.')
  const key = keys.find(({ id }) => id === keyId)
  if (key === undefined) throw unknownKey(keyId, keys)
  try {
    return decrypt(key, Buffer.from(content, 'base64url'), endpointId)
  } catch {
    throw new SealedSecretError('not_authentic', 'A stored webhook secret was changed, or is of another endpoint.')
  }
}

function decrypt({ id, bytes }: Key, content: Buffer, endpointId?: string | number): string {
  const nonce = content.subarray(0, NONCE_BYTES)
  const decipher = createDecipheriv(ALGORITHM, bytes, nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(contextOf(id, endpointId)).setAuthTag(content.subarray(-TAG_BYTES))
  const ciphertext = content.subarray(NONCE_BYTES, -TAG_BYTES)
  return Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString('utf8')
}

/** What is authenticated beside the secret. */
function contextOf(keyId: string, endpointId: string | number = ''): Buffer {
  return Buffer.from(`${VERSION}.${keyId}.${endpointId}`)
}

function unknownKey(id: string, keys: readonly Key[]): SealedSecretError {
  const known = keys.map((key) => key.id).join(', ')
  const message = `A stored webhook secret needs the key ${id}, and WEBHOOK_KEYS has only ${known}: add the old key.`
  return new SealedSecretError('unknown_key', message)
}
