import { createHash, hash, randomBytes, timingSafeEqual } from 'node:crypto'

/** SHA-256 in lower-case hex, 64 characters. */
export function sha256(text: string): string {
  return hash('sha256', text)
}

/** The hash by which a Content Security Policy allows a script or style. */
export function contentHash(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`
}

/** Compares two texts in a time that reveals neither where they differ nor how long they are. */
export function sameSecret(a: string, b: string): boolean {
  return timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest())
}

/** A fresh secret of 256 random bits, as 43 characters that are safe in URLs. */
export function randomSecret(): string {
  return randomBytes(32).toString('base64url')
}
