import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { SECRETS } from './support/deployment.ts'
import { WAYS } from './support/events.ts'
import { BINARIES, ROOT } from './support/programs.ts'

vi.setConfig({ testTimeout: 60_000 })

const NODE = join(BINARIES, 'node')
const SERVICES = ['customers', 'orders', 'orchestrator']

/** Answers one event, then says what it answered and which of Node's own modules are loaded. */
const ONE_EVENT = `
const { handler } = await import(process.argv[1])
const { statusCode } = await handler(JSON.parse(process.argv[2]), {})
console.error(JSON.stringify({ statusCode, modules: process.moduleLoadList }))
process.exit(0)`

const VARIABLES = {
  NODE_ENV: 'production',
  ...SECRETS,
  DB_HOST: '127.0.0.1',
  DB_PORT: '1',
  DB_USER: 'nobody',
  DB_PASS: 'nobody-knows-this-one',
  CUSTOMERS_API_BASE: 'http://127.0.0.1:1',
  ORDERS_API_BASE: 'http://127.0.0.1:1',
}

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'b2b-orders-cold-start-'))
  execFileSync(NODE, ['scripts/build-functions.ts', folder], { cwd: ROOT, stdio: 'pipe' })
}, 60_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function answerOnce(name: string, path: string): { statusCode: number; modules: string[] } {
  const event = WAYS[0]?.eventOf({ method: 'GET', path: name === 'orchestrator' ? path : `/${name}-api${path}` })
  const args = ['--input-type=module', '-e', ONE_EVENT, join(folder, name, 'index.mjs'), JSON.stringify(event)]
  const env = { ...VARIABLES, AWS_LAMBDA_FUNCTION_NAME: name }
  const { stderr } = spawnSync(NODE, args, { env, encoding: 'utf8' })
  return JSON.parse(stderr)
}

describe.each(SERVICES)('the function %s', (name) => {
  it("when it answers, then Node's fetch was not loaded for it", () => {
    const { statusCode, modules } = answerOnce(name, '/health')
    expect(statusCode).toBe(200)
    expect(modules.filter((it) => it.includes('undici'))).toEqual([])
  })
})
