import { expect, it, vi } from 'vitest'
import { ANSWER, CREATE_AND_CONFIRM, REQUEST, shown } from '../../testing/printed.ts'
import { expectFailure } from '../../testing/problems.ts'
import { newKey, ordersOf } from '../../testing/rows.ts'
import { serveOrchestrator } from '../../testing/services.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'
import { PAGE, startTunnels, type Tunnel } from '../../testing/tunnel.ts'

const LOCALTUNNEL = { header: 'bypass-tunnel-reminder', pageStatus: 511 }
const NGROK = { header: 'ngrok-skip-browser-warning', pageStatus: 200 }
/** A tunnel whose page our services do not know how to skip. */
const UNKNOWN = { header: 'x-let-me-through', pageStatus: 200 }

describeEachEngine('an orchestrator that reaches the services through tunnels', (engine) => {
  const system = useSystem(engine)

  /** One tunnel to each service, by the addresses that would be in its `.env`. */
  async function throughTunnels(
    bases: { customers: string; orders: string },
    kinds: { customers: Kind; orders: Kind },
  ) {
    const tunnels = await startTunnels({
      [hostOf(bases.customers)]: tunnelTo(system.customers.base, bases.customers, kinds.customers),
      [hostOf(bases.orders)]: tunnelTo(system.orders.base, bases.orders, kinds.orders),
    })
    vi.stubGlobal('fetch', tunnels.fetch)
    const addresses = { customersBase: bases.customers, ordersBase: bases.orders }
    const { api, log } = await serveOrchestrator(system, addresses)
    const send = (body: unknown) => api.post(`/dev${CREATE_AND_CONFIRM}`, body, { token: null })
    return { api, send, log, seen: tunnels.seen }
  }

  const cases = [
    {
      by: 'LocalTunnel',
      bases: { customers: 'https://nice-kangaroo-12.loca.lt', orders: 'https://brave-lion-34.loca.lt' },
      kinds: { customers: LOCALTUNNEL, orders: LOCALTUNNEL },
    },
    {
      by: 'ngrok, under a path and with a slash at the end',
      bases: { customers: 'https://abc123.ngrok-free.app/some/prefix/', orders: 'https://def456.ngrok-free.app/' },
      kinds: { customers: NGROK, orders: NGROK },
    },
    {
      by: 'one of each',
      bases: { customers: 'https://abc123.ngrok-free.app', orders: 'https://brave-lion-34.loca.lt/behind/' },
      kinds: { customers: NGROK, orders: LOCALTUNNEL },
    },
  ]

  it.each(cases)('when they are by $by, then the whole flow works without its page', async (tunnelled) => {
    const { api, send, seen } = await throughTunnels(tunnelled.bases, tunnelled.kinds)
    const request = { ...REQUEST, idempotency_key: newKey() }
    const response = await send(request)
    expect(response.status).toBe(201)
    const order = { ...ANSWER.data.order, id: expect.any(Number) }
    expect(response.body).toEqual({ ...ANSWER, data: { ...ANSWER.data, order } })
    expect(shown(await send(request))).toEqual({ ...shown(response), replayed: 'true' })
    expect((await api.get('/ready')).status).toBe(200)
    expect(seen.map(({ passed }) => passed)).not.toContain(false)
    const hosts = new Set(seen.map(({ url }) => url.split('/')[0]))
    expect(hosts).toEqual(new Set([hostOf(tunnelled.bases.customers), hostOf(tunnelled.bases.orders)]))
    // A slash at the end of a base does not become two.
    expect(seen.filter(({ url }) => url.includes('//'))).toEqual([])
  })

  const strangers = [
    { where: 'customers', pageStatus: 200 },
    { where: 'customers', pageStatus: 511 },
    { where: 'orders', pageStatus: 200 },
    { where: 'orders', pageStatus: 511 },
  ] as const

  it.each(strangers)(
    'when the tunnel to $where shows its page with $pageStatus anyway, then 502',
    async ({ where, pageStatus }) => {
      const bases = { customers: 'https://nice-kangaroo-12.loca.lt', orders: 'https://brave-lion-34.loca.lt' }
      const kinds = { customers: LOCALTUNNEL, orders: LOCALTUNNEL }
      const { send, log } = await throughTunnels(
        { ...bases, [where]: 'https://abc123.tunnel.example' },
        { ...kinds, [where]: { ...UNKNOWN, pageStatus } },
      )
      const before = await ordersOf(system, 1)
      const response = await send({ ...REQUEST, idempotency_key: newKey() })
      expectFailure(response, 502, 'upstream_failed')
      expect(response.text).not.toMatch(/[<>]/)
      expect(log.join('')).not.toContain(PAGE)
      expect(await ordersOf(system, 1)).toHaveLength(before.length)
    },
  )
})

type Kind = Omit<Tunnel, 'target' | 'prefix'>

function hostOf(base: string): string {
  return new URL(base).hostname
}

function tunnelTo(target: string, base: string, kind: Kind): Tunnel {
  return { ...kind, target, prefix: new URL(base).pathname.replace(/\/+$/, '') }
}
