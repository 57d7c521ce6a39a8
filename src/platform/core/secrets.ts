const MIN_SECRET_BYTES = 32

/** Whether a variable has one secret, or two while one replaces the other. */
export function isOneOrTwo(secrets: readonly string[]): boolean {
  return secrets.length <= 2 && !secrets.includes('')
}

/**
 * Why the secrets of a variable are not fit for production: a line for each, which never shows a secret.
 * @param published the secrets that documents or this repository print
 */
export function weaknessesOf(name: string, secrets: readonly string[], published: ReadonlySet<string>): string[] {
  return secrets
    .map((secret) => weaknessOf(secret, published))
    .filter((weakness) => weakness !== undefined)
    .map((weakness) => faultOf(name, weakness))
}

/** The line for a variable that has no secret, and needs one. */
export function missingSecret(name: string): string {
  return faultOf(name, 'must be set in production')
}

function weaknessOf(secret: string, published: ReadonlySet<string>): string | undefined {
  if (published.has(secret)) return 'this value is published'
  const bytes = new TextEncoder().encode(secret).length
  return bytes < MIN_SECRET_BYTES ? `must be at least ${MIN_SECRET_BYTES} bytes in production` : undefined
}

function faultOf(name: string, weakness: string): string {
  return `${name}: ${weakness}; make one with: openssl rand -base64 32`
}
