import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { addCompileCache, giveCacheTo, RUNTIME_OPTIONS } from '../../scripts/compile-cache.ts'
import { SECRETS } from '../../testing/deployment.ts'
import { recorded, WAYS } from '../../testing/events.ts'
import { BINARIES, ROOT } from '../../testing/programs.ts'

vi.setConfig({ testTimeout: 60_000 })

const NODE = join(BINARIES, 'node')
const SERVICES = ['customers', 'orders', 'orchestrator']
const SCHEDULED = ['sweep', 'events']

/** Handles one event, then prints the response or the failure, and the modules of Node that were loaded. */
const ONE_EVENT = `
const { handler } = await import(process.argv[1])
const { statusCode, code } = await handler(JSON.parse(process.argv[2]), {}).catch((error) => error)
console.error('told', JSON.stringify({ statusCode, code, modules: process.moduleLoadList }))
process.exit(0)`

/** Another Node than the project's, where the machine has one. */
const OTHER = (process.env.PATH ?? '')
  .split(delimiter)
  .filter((path) => !path.includes('node_modules'))
  .map((path) => join(path, 'node'))
  .find((file) => existsSync(file) && versionOf(file) !== process.version)

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

function versionOf(file: string): string {
  return execFileSync(file, ['--version'], { encoding: 'utf8' }).trim()
}

/** A copy in another folder, as after unpacking, with the cache for the user that runs these tests. */
function unpacked(name: string): string {
  const copy = mkdtempSync(join(folder, 'unpacked-'))
  cpSync(join(folder, name), copy, { recursive: true })
  giveCacheTo(process.getuid?.() ?? 0, join(copy, 'cache'))
  return copy
}

interface Told {
  statusCode?: number
  code?: string
  modules: string[]
}

const healthOf = (name: string) =>
  WAYS[0]?.eventOf({ method: 'GET', path: name === 'orchestrator' ? '/health' : `/${name}-api/health` })

/** Starts a function, sends it an event, and reports whether V8's cache was used. */
function start(name: string, copy: string, { node = NODE, options = RUNTIME_OPTIONS, event = healthOf(name) } = {}) {
  const args = ['--input-type=module', '-e', ONE_EVENT, join(copy, 'index.mjs'), JSON.stringify(event)]
  const env = { ...VARIABLES, AWS_LAMBDA_FUNCTION_NAME: name, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' }
  const { stdout, stderr } = spawnSync(node, [...options, ...args], { env, encoding: 'utf8' })
  const output = stdout + stderr
  const [, told = ''] = /^told (.*)$/m.exec(output) ?? []
  const { statusCode, code, modules }: Told = JSON.parse(told)
  return { statusCode, code, modules, isCacheTaken: /app\.mjs was accepted/.test(output) }
}

describe.each(SERVICES)('the function %s', (name) => {
  it('when it has responded, then V8’s cache was used, and Node’s fetch was not loaded', () => {
    const { statusCode, modules, isCacheTaken } = start(name, unpacked(name))
    expect({ statusCode, isCacheTaken }).toEqual({ statusCode: 200, isCacheTaken: true })
    expect(modules.filter((it) => it.includes('undici'))).toEqual([])
  })
})

describe.each(SCHEDULED)('the function %s', (name) => {
  it('when its schedule fires, then V8’s cache was used, and Node’s fetch was not loaded', () => {
    const { code, modules, isCacheTaken } = start(name, unpacked(name), { event: recorded('schedule') })
    expect({ code, isCacheTaken }).toEqual({ code: 'ECONNREFUSED', isCacheTaken: true })
    expect(modules.filter((it) => it.includes('undici'))).toEqual([])
  })
})

describe('a cache that does not fit', () => {
  const NOT_TAKEN = { statusCode: 200, isCacheTaken: false }

  it('when the options of V8 are others, then the function compiles and responds', () => {
    expect(start('customers', unpacked('customers'), { options: [] })).toMatchObject(NOT_TAKEN)
  })

  it('when the bundle is another, then the function compiles and responds', () => {
    const copy = unpacked('customers')
    appendFileSync(join(copy, 'app.mjs'), '\n// changed\n')
    expect(start('customers', copy)).toMatchObject(NOT_TAKEN)
  })

  // CI must not skip it.
  it.runIf(OTHER || process.env.CI === 'true')(
    'when Node is of another version, then the function compiles and responds',
    () => {
      const copy = unpacked('customers')
      expect(start('customers', copy, { node: OTHER ?? '', options: [] })).toMatchObject(NOT_TAKEN)
      expect(readdirSync(join(copy, 'cache'))).toHaveLength(1)
    },
  )

  it('when it was made for another version of Node, then it is not even read', () => {
    const copy = unpacked('customers')
    const entry = join(copy, 'index.mjs')
    writeFileSync(entry, readFileSync(entry, 'utf8').replace(process.version, 'v24.0.0'))
    expect(start('customers', copy)).toMatchObject(NOT_TAKEN)
  })
})

it('when a function is built in another folder, then its cache is the same bytes', () => {
  const again = mkdtempSync(join(tmpdir(), 'b2b-orders-cold-start-'))
  onTestFinished(() => rmSync(again, { recursive: true, force: true }))
  copyFileSync(join(folder, 'customers', 'app.mjs'), join(again, 'app.mjs'))
  addCompileCache(again)
  const cacheOf = (copy: string) => {
    const [file = ''] = readdirSync(join(copy, 'cache'), { recursive: true, encoding: 'utf8' }).toSorted().slice(-1)
    const bytes = readFileSync(join(copy, 'cache', file))
    return { file, hash: createHash('sha256').update(bytes).digest('hex'), isWhereItWasMade: bytes.includes(tmpdir()) }
  }
  const cache = cacheOf(join(folder, 'customers'))
  expect(cacheOf(again)).toEqual(cache)
  expect(cache.isWhereItWasMade).toBe(false)
})
