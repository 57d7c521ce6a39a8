import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { apiClient } from '../../testing/api-client.ts'
import { LOOPBACK } from '../../testing/deployment.ts'
import { tokenFor } from '../../testing/fixture.ts'
import { startCollector } from '../../testing/otlp-collector.ts'
import { copyProject } from '../../testing/packages.ts'
import {
  addressOf,
  BINARIES,
  freshDatabase,
  onSigusr2,
  ROOT,
  startCommand,
  until,
  within,
} from '../../testing/programs.ts'
import { startReceiver } from '../../testing/webhook-receiver.ts'

vi.setConfig({ testTimeout: 60_000 })

/** The oldest Node with all that the embedded database uses. */
const WITH_SQLITE = [22, 16] as const

/** The project's Node, and the one of the machine where that differs. */
const own = join(BINARIES, 'node')
const others = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'node'))
const machines = others.find((file) => !file.includes('node_modules') && existsSync(file))
const nodes = [own, ...(machines === undefined ? [] : [machines])].map((file) => ({ file, version: versionOf(file) }))

function versionOf(file: string): string {
  return spawnSync(file, ['--version'], { encoding: 'utf8' }).stdout.trim()
}

function hasSqlite(version: string): boolean {
  const [major = 0, minor = 0] = version.slice(1).split('.').map(Number)
  return major > WITH_SQLITE[0] || (major === WITH_SQLITE[0] && minor >= WITH_SQLITE[1])
}

let project: ReturnType<typeof copyProject>

beforeAll(() => {
  project = copyProject()
  cpSync(join(ROOT, 'db'), join(project.folder, 'db'), { recursive: true })
  const { status, stderr } = spawnSync(own, ['scripts/build.ts'], { cwd: project.folder, encoding: 'utf8' })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
}, 60_000)
afterAll(() => project?.remove())

describe.each(nodes)('dist/ on Node $version', ({ file, version }) => {
  const run = (program: string, variables: Record<string, string>) =>
    startCommand(file, [join(project.folder, 'dist', program)], variables)

  it.each(inject('mysql') === null ? [] : ['MySQL'])('when it works on %s, then it migrates and serves', async () => {
    const database = freshDatabase('mysql')
    const migrated = await run('commands/migrate.js', database).ended
    expect({ code: migrated.code, stderr: migrated.stderr }).toEqual({ code: 0, stderr: '' })
    const program = run('entrypoints/service.js', { SERVICE: 'customers', PORT: '0', ...database })
    const base = await addressOf(program)
    expect((await fetch(`${base}/ready`)).status).toBe(200)
    expect((await fetch(`${base}/docs`)).status).toBe(200)
    expect(await program.stop()).toMatchObject({ code: 0 })
  })

  it('when a collector is configured, then it gets traces', async () => {
    const collector = await startCollector()
    const traces = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_TRACES_SAMPLER_ARG: '1' }
    const bases = { CUSTOMERS_API_BASE: 'http://127.0.0.1:1', ORDERS_API_BASE: 'http://127.0.0.1:1' }
    const program = run('entrypoints/service.js', { SERVICE: 'orchestrator', PORT: '0', ...bases, ...traces })
    expect((await fetch(`${await addressOf(program)}/openapi.json`)).status).toBe(200)
    expect(await program.stop()).toMatchObject({ code: 0 })
    expect(collector.spans).toMatchObject([{ service: 'orchestrator', name: 'GET /openapi.json', kind: 'server' }])
  })

  it.each(inject('mysql') === null ? [] : ['MySQL'])('when it works on %s, then it sends webhooks', async () => {
    const database = freshDatabase('mysql')
    const bases = { CUSTOMERS_API_BASE: 'http://127.0.0.1:1' }
    const program = run('entrypoints/service.js', { SERVICE: 'orders', PORT: '0', ...bases, ...LOOPBACK, ...database })
    const orders = apiClient(await addressOf(program), await tokenFor('tests', parseEnv({})))
    const receiver = await startReceiver()
    const wanted = { url: receiver.url, event_types: ['product.*'] }
    const { secret } = (await orders.post('/webhook-endpoints', wanted)).body
    const { id } = (await orders.post('/products', { sku: 'NEW', name: 'New', price_cents: 100, stock: 1 })).body
    const received = await until(
      () => receiver.received[0],
      () => `no webhook\n${program.stdout()}`,
    )
    expect(received.event).toMatchObject({ type: 'product.created', resource: { id } })
    receiver.verifyAll(secret)
    expect(await program.stop()).toMatchObject({ code: 0 })
  })

  it('when an error is uncaught, then it is one fatal line and ends with 1', async () => {
    const bases = { CUSTOMERS_API_BASE: 'http://127.0.0.1:1', ORDERS_API_BASE: 'http://127.0.0.1:1' }
    const options = onSigusr2("throw new Error('uncaught')")
    const program = run('entrypoints/service.js', { SERVICE: 'orchestrator', PORT: '0', ...bases, ...options })
    await addressOf(program)
    process.kill(program.pid, 'SIGUSR2')
    expect(await program.ended).toMatchObject({ code: 1, stderr: '' })
    const fatal = program.log().filter(({ level }) => level === 'fatal')
    expect(fatal).toEqual([expect.objectContaining({ msg: 'uncaught error', service: 'orchestrator' })])
    expect(program.log().at(-1)).toMatchObject({ msg: 'stopped' })
  })

  it('when the database is embedded, then it works, or says which Node it needs', async () => {
    const program = run('commands/migrate.js', freshDatabase('sqlite'))
    const { code, stdout, stderr } = await within(program.ended, program.stderr)
    if (hasSqlite(version)) expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^Migrated /) })
    else {
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toContain(
        `The embedded database needs Node ${WITH_SQLITE.join('.')} or later, and this is ${version}.`,
      )
      expect(stderr).not.toMatch(/^\s+at /m)
    }
  })
})

it('when package.json names the oldest Node, then the bundles are built for that', () => {
  const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const [, target = ''] = /target: 'node(\d+)'/.exec(readFileSync(join(ROOT, 'scripts/bundling.ts'), 'utf8')) ?? []
  expect(engines.node).toMatch(new RegExp(`^>=${target}\\.`))
})
