import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

export interface Certificate {
  cert: Buffer
  key: Buffer
}

export interface Authority {
  /** The file that makes its certificates trusted. */
  file: string
  /** A certificate for these names: `DNS:a.example,IP:127.0.0.1`. */
  issue(names: string): Certificate
}

/** A certificate authority, until the test ends. */
export function createAuthority(): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'authority.pem')
  const [ownKey, key, cert] = [join(folder, 'own-key.pem'), join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const issue = (names: string) => {
    const about = ['basicConstraints=CA:FALSE', `subjectAltName=${names}`].flatMap((line) => ['-addext', line])
    openssl('-CA', file, '-CAkey', ownKey, ...about, '-subj', '/CN=receiver', '-keyout', key, '-out', cert)
    return { cert: readFileSync(cert), key: readFileSync(key) }
  }
  openssl('-subj', '/CN=authority', '-keyout', ownKey, '-out', file)
  return { file, issue }
}

function openssl(...args: string[]): void {
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const { status, error, stderr } = spawnSync('openssl', [...kind, ...args])
  if (status !== 0) throw new Error(`openssl made no certificate: ${error?.message ?? stderr}`)
}
