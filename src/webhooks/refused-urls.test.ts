import dns from 'node:dns/promises'
import { syncBuiltinESMExports } from 'node:module'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { LOOPBACK_HOSTS, PUBLIC_ADDRESSES, SPECIAL_ADDRESSES } from '../../testing/addresses.ts'
import { idsOf } from '../../testing/lists.ts'
import { expectProblem } from '../../testing/problems.ts'
import { startRawReceiver } from '../../testing/receivers.ts'
import { newOrder, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'
import { attemptsOf, deleteAfterTest, deliveriesOf, passRetryPauses } from '../../testing/webhooks.ts'

const PATH = '/webhook-endpoints'
const EVENTS = { event_types: ['order.*'] }

/** Until the test ends, every host name has these addresses. */
function resolveTo(...addresses: string[]): void {
  const answer = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
  const lookup = vi.spyOn(dns, 'lookup').mockImplementation(async () => answer as never)
  syncBuiltinESMExports()
  onTestFinished(() => {
    lookup.mockRestore()
    syncBuiltinESMExports()
  })
}

function hostOf(address: string): string {
  return address.includes(':') ? `[${address}]` : address
}

describeEachEngine('URLs that webhooks may not go to', (engine) => {
  const system = useSystem(engine)

  async function refusalsOf(urls: readonly string[]): Promise<void> {
    const before = idsOf((await system.orders.get(PATH)).body.data)
    for (const url of urls) {
      const refused = await system.orders.post(PATH, { url, ...EVENTS })
      expect({ url, code: refused.body.code }).toEqual({ url, code: 'url_not_allowed' })
      expectProblem(refused, 422, 'url_not_allowed')
    }
    expect(idsOf((await system.orders.get(PATH)).body.data)).toEqual(before)
  }

  async function register(url: string) {
    const { status, body } = await system.orders.post(PATH, { url, ...EVENTS })
    expect(status).toBe(201)
    deleteAfterTest(system, body.id)
    return body
  }

  async function placeOrder() {
    const { id: product_id } = await newProduct(system)
    await newOrder(system, [{ product_id, qty: 1 }])
  }

  describe('at their registration', () => {
    it('when the address is special, then 422', async () => {
      await refusalsOf(SPECIAL_ADDRESSES.map((address) => `https://${hostOf(address)}/`))
    })

    it('when the host is written so that its address is hidden, then 422', async () => {
      await refusalsOf(LOOPBACK_HOSTS.map((host) => `https://${host}/`))
    })

    it('when the scheme or form is another one, then 422', async () => {
      await refusalsOf([
        'http://8.8.8.8/',
        'ftp://8.8.8.8/',
        'file:///etc/passwd',
        'javascript:alert(1)',
        'data:text/plain,x',
        '//8.8.8.8/',
        'hooks.example',
        'https://user:word@8.8.8.8/',
        'https://user@8.8.8.8/',
        'https://8.8.8.8/#part',
        'https://8.8.8.8:99999/',
        'https://127.0.0.1\\@8.8.8.8/',
        'https://',
      ])
    })

    it('when one of the addresses of a name is not public, then 422', async () => {
      for (const addresses of [['10.0.0.1'], ['8.8.8.8', '169.254.169.254'], ['2606:4700:4700::1111', '::1']]) {
        resolveTo(...addresses)
        await refusalsOf(['https://hooks.example/'])
      }
    })

    it('when a name has no address, then 422', async () => {
      resolveTo()
      await refusalsOf(['https://hooks.example/'])
    })

    it('when the refusal is read, then it tells no address of the name', async () => {
      resolveTo('10.1.2.3')
      const { body } = await system.orders.post(PATH, { url: 'https://hooks.example/', ...EVENTS })
      expect(body.detail).toBe('The host hooks.example has an address that is not public.')
      expect(JSON.stringify(body)).not.toContain('10.1.2.3')
    })

    it('when all addresses are public, then 201', async () => {
      resolveTo(...PUBLIC_ADDRESSES)
      await register('https://hooks.example/path?query')
      await register('https://8.8.8.8:8443/')
    })

    it('when a good one is changed to such a URL, then 422', async () => {
      const { id } = await register('https://8.8.8.8/')
      for (const url of ['https://127.1/', 'http://8.8.8.8/', 'https://[::ffff:10.0.0.1]/']) {
        expectProblem(await system.orders.patch(`${PATH}/${id}`, { url }), 422, 'url_not_allowed')
      }
      expect((await system.orders.get(`${PATH}/${id}`)).body).toMatchObject({ url: 'https://8.8.8.8/', version: 1 })
    })
  })

  describe('at each attempt', () => {
    it('when the name has a private address by then, then nothing arrives', async () => {
      const receiver = await startRawReceiver((socket) => socket.resume())
      resolveTo('8.8.8.8')
      const endpoint = await register(`https://hooks.example:${receiver.port}/`)
      resolveTo('127.0.0.1')
      await placeOrder()
      await system.dispatch()
      const [delivery] = await deliveriesOf(system, endpoint.id)
      expect(delivery).toMatchObject({ status: 'pending', tries: 1 })
      resolveTo('8.8.8.8', '127.0.0.1')
      await passRetryPauses(system, endpoint.id)
      await system.dispatch()
      const attempts = await attemptsOf(system, delivery.id)
      expect(attempts).toMatchObject([
        { status: null, error: 'address_not_allowed', response: '' },
        { status: null, error: 'address_not_allowed', response: '' },
      ])
      expect(JSON.stringify(attempts)).not.toContain('127.0.0.1')
      const ping = await system.orders.post(`${PATH}/${endpoint.id}/ping`)
      expect(ping.body.attempt).toMatchObject({ status: null, error: 'address_not_allowed', response: '' })
      expect(receiver.sockets).toHaveLength(0)
    })

    it('when a URL was allowed before, then it is refused all the same', async () => {
      const receiver = await startRawReceiver((socket) => socket.resume())
      const endpoint = await register('https://8.8.8.8/')
      for (const url of [`https://127.0.0.1:${receiver.port}/`, `http://8.8.8.8:${receiver.port}/`]) {
        await system.db.updateTable('webhook_endpoints').set({ url }).where('id', '=', endpoint.id).execute()
        const { attempt } = (await system.orders.post(`${PATH}/${endpoint.id}/ping`)).body
        expect(attempt.error).toMatch(/^(address|url)_not_allowed$/)
      }
      expect(receiver.sockets).toHaveLength(0)
    })
  })
})
