import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import type { Engine } from '../../src/platform/database/dialect.ts'
import { readBanner } from '../../testing/banner.ts'
import { freePort } from '../../testing/database-server.ts'
import { DENO, DENO_TASKS, runsOnDeno } from '../../testing/deno.ts'
import type { Variables } from '../../testing/fixture.ts'
import { familiesIn, scrape } from '../../testing/metrics.ts'
import { CREATE_AND_CONFIRM, printedResponse, REQUEST, shown } from '../../testing/printed.ts'
import { freshDatabase, type Program, ROOT, startCommand, until, within } from '../../testing/programs.ts'
import { withoutOwnSettings } from '../../testing/project.ts'
import { describeEachEngine } from '../../testing/system.ts'
import { startReceiver } from '../../testing/webhook-receiver.ts'

vi.setConfig({ testTimeout: 90_000 })

/** Of the metrics of a process, those that Deno can tell. */
const SEEN_ON_DENO = [
  'b2b_build_info',
  'b2b_holds_open',
  'http_server_request_duration_seconds',
  'nodejs_eventloop_delay_seconds',
  'process_cpu_seconds_total',
  'process_resident_memory_bytes',
]

const FREE_PORTS = { CUSTOMERS_PORT: '0', ORDERS_PORT: '0', ORCHESTRATOR_PORT: '0' }

/** Runs a task of deno.json in the project's folder, where it may only write to `.data`. */
function startTask(task: string, variables: Variables): Program {
  const all = { ...withoutOwnSettings(), DENO_NO_UPDATE_CHECK: '1', NO_COLOR: '1', ...variables }
  return startCommand(DENO, ['task', task], all, ROOT)
}

/** A fresh database, where the tasks may write. */
function denoDatabase(engine: Engine): Variables {
  if (engine === 'mysql') return freshDatabase(engine)
  mkdirSync(join(ROOT, '.data'), { recursive: true })
  const folder = mkdtempSync(join(ROOT, '.data', 'test-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return { DB_FILE: join(folder, 'b2b.sqlite') }
}

function ended({ ended, stdout, stderr }: Program) {
  return within(ended, () => `it did not end\n${stdout()}\n${stderr()}`)
}

describe('deno.json', () => {
  it('when a task is read, then only the network is unrestricted', () => {
    for (const { command } of Object.values(DENO_TASKS)) {
      expect(command.match(/--allow-\w+(?![\w=])|-A\b/g)).toEqual(['--allow-net'])
      expect(command).not.toMatch(/--allow-(run|ffi|import)/)
    }
  })
})

describe.each(runsOnDeno() ? ['Deno'] : [])('on %s', () => {
  describeEachEngine('deno task start', (engine) => {
    it('when the printed request is retried, also after a restart, then it is a replay', async () => {
      const variables = { ...FREE_PORTS, ...denoDatabase(engine) }
      const first = startTask('start', variables)
      const { orchestrator } = await readBanner(first)
      const send = (services: { orchestrator: typeof orchestrator }) =>
        services.orchestrator.call('POST', `/dev${CREATE_AND_CONFIRM}`, { body: REQUEST, token: null })
      const response = await send({ orchestrator })
      expect(shown(response)).toEqual({ status: 201, text: printedResponse(response), replayed: null })
      const stored = { status: 201, text: response.text, replayed: 'true' }
      expect(shown(await send({ orchestrator }))).toEqual(stored)
      expect(await first.stop()).toMatchObject({ code: 0 })
      expect(first.log().at(-1)).toMatchObject({ msg: 'stopped' })

      const second = startTask('start', variables)
      const restarted = await readBanner(second)
      expect(shown(await send(restarted))).toEqual(stored)
      expect((await restarted.orders.get('/orders')).body.data).toHaveLength(5)
      expect(await second.stop()).toMatchObject({ code: 0 })
    })

    it('when an endpoint wants the events of orders, then they arrive signed', async () => {
      const program = startTask('start', { ...FREE_PORTS, ...denoDatabase(engine) })
      const { orders } = await readBanner(program)
      const receiver = await startReceiver()
      const wanted = { url: receiver.url, event_types: ['order.*'] }
      const { secret } = (await orders.post('/webhook-endpoints', wanted)).body
      const { id } = (await orders.post('/orders', { customer_id: 1, items: [{ product_id: 1, qty: 1 }] })).body
      const received = await until(
        () => receiver.received[0],
        () => `no webhook\n${program.stdout()}`,
      )
      expect(received.event).toMatchObject({ type: 'order.placed', resource: { id } })
      receiver.verifyAll(secret)
      expect(await program.stop()).toMatchObject({ code: 0 })
    })

    it('when it is up, then every service has its documentation and is ready', async () => {
      const { customers, orders, orchestrator } = await readBanner(
        startTask('start', { ...FREE_PORTS, ...denoDatabase(engine) }),
      )
      for (const service of [customers, orders, orchestrator]) {
        expect((await service.get('/ready')).body).toMatchObject({ status: 'ok' })
        expect((await service.get('/docs')).text).toContain('swagger-ui-bundle.js')
        expect((await service.get('/docs/swagger-ui-dist/swagger-ui.css')).status).toBe(200)
        expect((await service.get('/openapi.json')).body).toMatchObject({ openapi: '3.1.0' })
      }
      const page = await scrape(orchestrator.base)
      expect(page.status).toBe(200)
      expect(familiesIn(page)).toEqual(expect.arrayContaining(SEEN_ON_DENO))
    })
  })

  it('when the database file is outside of .data, then Deno’s refusal names it', async () => {
    const program = startTask('start', { ...FREE_PORTS, ...freshDatabase('sqlite') })
    const { code, stdout, stderr } = await ended(program)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/The database \S+\/b2b\.sqlite can't be used: .*--allow-(read|write)/)
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  it('when the smoke test is run, then every check passes on each engine of this run', async () => {
    const engines = inject('mysql') === null ? ['node:sqlite'] : ['node:sqlite', 'mysql2']
    const { code, stdout, stderr } = await ended(startTask('test:smoke', serverVariables()))
    const lines = stdout.trim().split('\n')
    expect({ code, last: lines.pop(), stderr }).toMatchObject({ code: 0, last: 'All is well.' })
    const [runtime, ...checks] = lines.filter((line) => !line.startsWith('NOT CHECKED'))
    expect(runtime).toMatch(/^ok {6}the runtime is Deno \d/)
    for (const engine of engines)
      expect(checks.filter((line) => line.startsWith(`ok      ${engine}: `))).toHaveLength(11)
    expect(checks).toHaveLength(11 * engines.length)
  })

  it('when a server does not respond, then the smoke test ends with 1', async () => {
    const nowhere = { TEST_DB_HOST: '127.0.0.1', TEST_DB_PORT: String(await freePort()) }
    const { code, stdout } = await ended(startTask('test:smoke', nowhere))
    expect(code).toBe(1)
    expect(stdout).toMatch(/^FAILED {2}mysql2: /m)
    expect(stdout.trim().split('\n').at(-1)).toBe('1 failed.')
  })

  it('when there is no server, then the smoke test says what it skips, and fails in CI', async () => {
    const none = { TEST_DB_HOST: '' }
    const [alone, inCi] = await Promise.all(
      [startTask('test:smoke', none), startTask('test:smoke', { ...none, CI: 'true' })].map(ended),
    )
    expect(alone).toMatchObject({ code: 0, stdout: expect.stringMatching(/^NOT CHECKED: mysql2\./m) })
    expect(inCi).toMatchObject({ code: 1, stdout: expect.stringMatching(/^NOT CHECKED: mysql2\./m) })
  })

  function serverVariables(): Variables {
    const server = inject('mysql')
    if (server === null) return { TEST_DB_HOST: '' }
    const { host, port, user, password } = server
    return { TEST_DB_HOST: host, TEST_DB_PORT: String(port), TEST_DB_USER: user, TEST_DB_PASS: password }
  }
})
