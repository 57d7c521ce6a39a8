import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { FUNCTIONS } from '../../testing/deployment.ts'
import { callerOf, WAYS } from '../../testing/events.ts'
import { tokenFor } from '../../testing/fixture.ts'
import { startInstanceOf } from '../../testing/lambda.ts'
import { type Collector, startCollector } from '../../testing/otlp-collector.ts'
import { BINARIES, ROOT } from '../../testing/programs.ts'
import { createTestDatabase } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 60_000 })

const MAX_WAIT_MS = 200

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'b2b-orders-traced-'))
  const env = { PATH: process.env.PATH, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://localhost:4318' }
  const command = ['scripts/build-functions.ts', folder]
  const { status, stderr } = spawnSync(join(BINARIES, 'node'), command, { cwd: ROOT, env, encoding: 'utf8' })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
}, 120_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The function of Customers, over a database of its own, until the test ends. */
async function startCustomers(collector: Collector) {
  const { variables, drop } = await createTestDatabase('sqlite')
  const unpacked = { name: 'customers-api-dev', folder, handler: 'customers/index.handler', variables, parameters: '' }
  const traces = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_TRACES_SAMPLER_ARG: '1' }
  const instance = await startInstanceOf(unpacked, traces)
  onTestFinished(async () => {
    await instance.stop()
    await drop()
  })
  const [way] = WAYS
  if (way === undefined) throw new Error('no way to call a function')
  const call = callerOf(instance, way, '/customers-api', await tokenFor('tests', parseEnv({})))
  return { instance, list: () => call('GET', '/customers') }
}

it('when functions are packed with a collector, then those that send traces have what sends them', () => {
  const having = FUNCTIONS.filter((name) => existsSync(join(folder, name, 'otlp.mjs')))
  expect(having).toEqual(['customers', 'orders', 'orchestrator', 'events'])
})

it('when a function answers, then its spans are sent', async () => {
  const collector = await startCollector()
  const { list } = await startCustomers(collector)
  for (let calls = 1; calls <= 3; calls++) {
    expect(await list()).toMatchObject({ status: 200 })
    const requests = collector.spans.filter(({ name }) => name === 'GET /customers')
    expect(requests.map(({ service }) => service)).toEqual(Array(calls).fill('customers'))
  }
})

it('when the collector never answers, then responses wait for it once, and not for long', async () => {
  const collector = await startCollector()
  collector.status = undefined
  const { instance, list } = await startCustomers(collector)
  expect(await list()).toMatchObject({ status: 200 })
  expect(collector.headers).toHaveLength(1)
  const calls = 20
  const start = performance.now()
  for (let i = 0; i < calls; i++) expect(await list()).toMatchObject({ status: 200 })
  expect(performance.now() - start).toBeLessThan((calls / 2) * MAX_WAIT_MS)
  expect(instance.log().filter(({ msg }) => msg === 'request')).toHaveLength(calls + 1)
})
