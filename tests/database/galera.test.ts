import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { runFaults } from '../../faults/run.ts'
import { type System, startSystemOnCluster } from '../../faults/system.ts'
import { type ApiResponse, apiClient } from '../../testing/api-client.ts'
import { readBanner } from '../../testing/banner.ts'
import { databaseVariables, type Variables } from '../../testing/fixture.ts'
import { type GaleraCluster, HOW_TO_GET_GALERA, hasGalera, startGaleraCluster } from '../../testing/galera.ts'
import type { ServiceName } from '../../testing/openapi.ts'
import { runProgram, startProgram } from '../../testing/programs.ts'
import { atOnce, newKey } from '../../testing/rows.ts'

vi.setConfig({ testTimeout: 240_000, hookTimeout: 180_000 })

const ROUNDS = 4
/** With fewer conflicts the test would prove nothing. */
const MIN_CONFLICTS = 50
const AT_ONCE = 8

// CI must not skip it.
const isSkipped = !hasGalera() && process.env.CI !== 'true'
if (isSkipped) {
  const line = '='.repeat(100)
  console.warn(`\n${line}\nNO CLUSTER IS TESTED.\n${HOW_TO_GET_GALERA}\n${line}\n`)
}

describe.skipIf(isSkipped)('a Galera cluster', () => {
  let cluster: GaleraCluster
  beforeAll(async () => {
    cluster = await startGaleraCluster()
  })
  afterAll(() => cluster?.stop())

  function variablesOf(database: string): Variables[] {
    return cluster.nodes.map((node) => databaseVariables(node, database))
  }

  /** An instance of every service at each node, until the test ends. */
  async function systemOnCluster(): Promise<System> {
    const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-galera-test-'))
    const system = await startSystemOnCluster(cluster, folder)
    onTestFinished(async () => {
      await system.stop()
      rmSync(folder, { recursive: true, force: true })
    })
    return system
  }

  /** Runs a program at every node at once. @returns the errors of those that failed */
  async function failuresOf(script: string, variables: Variables[]): Promise<string[]> {
    const all = await Promise.all(variables.map((of) => runProgram(script, of)))
    return all.filter(({ code }) => code !== 0).map(({ code, stderr }) => `${script} ended with ${code}: ${stderr}`)
  }

  it('when every node is migrated and seeded at once, then each succeeds', async () => {
    const failures: string[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const variables = variablesOf(`b2b_migrated_${round}`)
      failures.push(...(await failuresOf('migrate', variables)))
      failures.push(...(await failuresOf('seed', variables)))
    }
    expect(failures).toEqual([])
  })

  it('when a write gets its response, then every other node has it', async () => {
    const system = await systemOnCluster()
    await expect.poll(() => system.ready(), { timeout: 30_000 }).toBe(true)
    const at = (node: number, service: ServiceName) =>
      apiClient(`http://127.0.0.1:${system.ports[node % system.ports.length]?.[service]}`, system.token)
    const key = () => ({ headers: { 'x-idempotency-key': newKey() } })
    const unexpected: string[] = []
    const expectStatus = (status: number, step: string, response: ApiResponse) => {
      if (response.status !== status) unexpected.push(`${step}: ${response.status} ${response.text}`)
      return response
    }

    async function goFromNodeToNode(first: number): Promise<void> {
      const email = `${newKey()}@example.com`
      const customer = await at(first, 'customers').post('/customers', { name: 'Ann', email })
      expectStatus(201, 'adding a customer', customer)
      await orderElsewhere(first, customer.body.id)
      await changeElsewhere(first, customer, email)
    }

    async function orderElsewhere(first: number, customerId: number): Promise<void> {
      const items = [{ product_id: system.fixture.plenty[0], qty: 1 }]
      const order = await at(first + 1, 'orders').post('/orders', { customer_id: customerId, items })
      expectStatus(201, 'ordering for a customer from another node', order)
      if (order.status !== 201) return
      const path = `/orders/${order.body.id}`
      expectStatus(200, 'reading the order elsewhere', await at(first + 2, 'orders').get(path))
      const confirmed = await at(first, 'orders').post(`${path}/confirm`, undefined, key())
      expectStatus(200, 'confirming it elsewhere', confirmed)
      if (confirmed.status !== 200) return
      const { status } = expectStatus(200, 'reading it again', await at(first + 1, 'orders').get(path)).body
      if (status !== 'CONFIRMED') unexpected.push(`confirmed elsewhere, read as ${status}`)
    }

    async function changeElsewhere(first: number, customer: ApiResponse, email: string): Promise<void> {
      const path = `/customers/${customer.body.id}`
      let tag = customer.headers.get('etag') ?? ''
      for (const node of [first + 1, first + 2, first]) {
        const condition = { headers: { 'if-match': tag } }
        const changed = await at(node, 'customers').put(path, { name: `Ann at ${node}`, email }, condition)
        expectStatus(200, 'changing the customer elsewhere', changed)
        if (changed.status !== 200) return
        tag = changed.headers.get('etag') ?? ''
        const read = expectStatus(200, 'reading the change elsewhere', await at(node + 1, 'customers').get(path))
        if (read.headers.get('etag') !== tag) unexpected.push(`changed to ${tag}, read ${read.headers.get('etag')}`)
      }
    }

    for (let round = 0; round < 3 * ROUNDS; round++) await atOnce(AT_ONCE, (i) => goFromNodeToNode(round + i))
    expect(unexpected).toEqual([])
  })

  describe('whose nodes are all in DB_HOST', () => {
    const severalServers = (database: string): Variables => ({
      DB_HOST: cluster.nodes.map(({ host, port }) => `${host}:${port}`).join(','),
      DB_USER: 'root',
      DB_NAME: database,
      CUSTOMERS_PORT: '0',
      ORDERS_PORT: '0',
      ORCHESTRATOR_PORT: '0',
    })
    const order = { customer_id: 1, items: [{ product_id: 2, qty: 1 }], confirm: true }

    /** The commits of each node itself so far; -1 where it does not run. */
    async function commitsOfNodes(): Promise<number[]> {
      return Promise.all(
        cluster.nodes.map((_, i) =>
          cluster.status(i, 'wsrep_local_commits').then(
            (count) => Number(count),
            () => -1,
          ),
        ),
      )
    }

    /** The nodes that committed something themselves meanwhile. */
    async function writersDuring(work: () => Promise<unknown>): Promise<number[]> {
      const before = await commitsOfNodes()
      await work()
      const after = await commitsOfNodes()
      return [...after.keys()].filter((i) => (after[i] ?? 0) > (before[i] ?? 0))
    }

    const startOn = (variables: Variables) => readBanner(startProgram('start', variables))
    type Started = Awaited<ReturnType<typeof startOn>>

    async function placeUntilDone({ orders }: Started, key: string): Promise<void> {
      await expect
        .poll(async () => (await orders.post('/orders', order, { headers: { 'idempotency-key': key } })).status, {
          timeout: 20_000,
          interval: 100,
        })
        .toBe(201)
    }

    it('when the writer is killed, then all processes switch to one other and stay there', async () => {
      const variables = severalServers('b2b_several')
      const processes = [await startOn(variables), await startOn(variables)]
      const keys: string[] = []
      const placeSome = () =>
        atOnce(20, (i) => {
          const key = newKey()
          keys.push(key)
          const process = processes[i % processes.length]
          if (process === undefined) throw new Error('there is no process')
          return placeUntilDone(process, key)
        })

      const [writer = -1, ...others] = await writersDuring(placeSome)
      expect(others).toEqual([])
      await cluster.kill(writer)
      const killedAt = performance.now()
      await placeSome()
      const outageMs = performance.now() - killedAt
      for (const { orders } of processes) {
        await expect.poll(async () => (await orders.get('/ready')).status, { timeout: 10_000 }).toBe(200)
      }
      const [next = -1, ...more] = await writersDuring(placeSome)
      expect([next === writer, more]).toEqual([false, []])

      await cluster.restart(writer)
      processes.push(await startOn(variables))
      expect(await writersDuring(placeSome)).toEqual([next])
      const placed = new Set<number>()
      for (const key of keys) {
        const headers = { 'idempotency-key': key }
        const again = await processes[0]?.orders.post('/orders', order, { headers })
        expect([again?.status, again?.headers.get('idempotent-replayed')]).toEqual([201, 'true'])
        placed.add(again?.body.id)
      }
      expect(placed.size).toBe(keys.length)
      console.log(`orders were placed again ${Math.round(outageMs)} ms after the kill`)
    })

    it('when DB_WRITERS is all, then every node is written', async () => {
      const process = await startOn({ ...severalServers('b2b_all'), DB_WRITERS: 'all' })
      // Orders share transactions, but each new customer has its own, so these need many connections.
      const addCustomer = () => process.customers.post('/customers', { name: 'Ann', email: `${newKey()}@example.com` })
      const placeSome = () => Promise.all([placeUntilDone(process, newKey()), atOnce(40, addCustomer)])
      const writers = new Set<number>()
      await expect
        .poll(
          async () => {
            for (const writer of await writersDuring(placeSome)) writers.add(writer)
            return writers.size
          },
          { timeout: 30_000 },
        )
        .toBe(cluster.nodes.length)
    })
  })

  it('when all nodes write and one is killed, then nothing is lost or done twice', async () => {
    const system = await systemOnCluster()
    await cluster.untilSynced()
    const before = await cluster.conflicts()
    const plan = { seed: 1, seconds: 30, target: 'galera', callers: 24, killEverySeconds: 30 } as const
    const watching = { progress: () => {}, note: () => {}, signal: new AbortController().signal }
    const found = await runFaults(plan, system, cluster.version, watching)
    const { lost, doubled, differing, violations, troubles, faults } = found
    const seen = violations.map(({ kind, key, seen }) => `${kind}: ${key}: ${seen.slice(0, 300)}`)
    expect({ lost, doubled, differing, seen, troubles }).toEqual({
      lost: 0,
      doubled: 0,
      differing: 0,
      seen: [],
      troubles: [],
    })
    expect(Object.keys(faults.kills).filter((name) => name.startsWith('node'))).toHaveLength(1)
    expect((await cluster.conflicts()) - before).toBeGreaterThan(MIN_CONFLICTS)
  })

  // This test is the last one: it leaves no node with a cluster.
  it('when a node has lost the others, then it is not ready and gives 503, never 500', async () => {
    const [alone] = variablesOf('b2b_alone')
    const ports = { CUSTOMERS_PORT: '0', ORDERS_PORT: '0', ORCHESTRATOR_PORT: '0' }
    const { customers, orders } = await readBanner(startProgram('start', { ...alone, ...ports }))
    const order = { customer_id: 1, items: [{ product_id: 2, qty: 1 }] }
    expect((await orders.post('/orders', order)).status).toBe(201)
    await Promise.all([cluster.kill(1), cluster.kill(2)])
    await expect.poll(() => cluster.status(0, 'wsrep_cluster_status'), { timeout: 30_000 }).toBe('non-Primary')
    const responses = [
      await orders.post('/orders', order),
      await orders.get('/orders'),
      await customers.get('/customers/1'),
      await customers.post('/customers', { name: 'Ann', email: 'ann@example.com' }),
    ]
    expect(responses.map(({ status }) => status)).toEqual([503, 503, 503, 503])
    const ready = await orders.get('/ready')
    expect([ready.status, ready.body.checks.database]).toEqual([503, 'read_only'])
  })
})
