import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type DocsPage, openDocs, openDocsForSuite, runsInBrowser, useBrowser } from '../../testing/browser.ts'
import { differencesIn } from '../../testing/fixture.ts'
import { type Operation, operationsOf, readDocuments, SERVICES, type ServiceName } from '../../testing/openapi.ts'
import { ANSWER, CREATE_AND_CONFIRM, REQUEST } from '../../testing/printed.ts'
import { expectProblem } from '../../testing/problems.ts'
import { type TestSystem, useSystem } from '../../testing/system.ts'
import { LOOPBACK } from '../../testing/webhooks.ts'

const operations = operationsOf(await readDocuments())

function operation(service: ServiceName, operationId: string) {
  const found = operations.find((it) => it.service === service && it.operationId === operationId)
  if (found === undefined) throw new Error(`${service} documents no ${operationId}`)
  return found
}

const TITLES = { customers: 'Customers', orders: 'Orders', orchestrator: 'Orchestrator' }
/** The height of a large screen. The window of these tests is 1280 pixels wide. */
const SCREEN_PIXELS = 1_440
/** The effect of the examples on the demo data, where their status does not show it. */
const DONE: Record<ServiceName, Record<string, object>> = {
  customers: {
    createCustomer: { id: 5, name: 'Initech', version: 1 },
    replaceCustomer: { id: 3, name: 'Globex Wholesale', phone: '555-9877', version: 2 },
  },
  orders: {
    createProduct: { id: 5, sku: 'KEY-ISO', stock: 250 },
    changeProduct: { id: 3, price_cents: 1090, version: 2 },
    adjustStock: { product_id: 1, delta: -3, stock: 4992 },
    placeOrder: { id: 5, status: 'CREATED', total_cents: 259_800 },
    updateOrder: { id: 2, notes: 'Ring at gate 3.' },
    confirmOrder: { id: 2, status: 'CONFIRMED' },
    cancelOrder: { id: 4, status: 'CANCELED', confirmed_at: null },
    listEvents: { next_cursor: expect.any(String), has_more: false },
    getOrderHistory: { next_cursor: null },
    createWebhookEndpoint: { id: 3, url: 'http://127.0.0.1:4000', version: 1 },
    changeWebhookEndpoint: { id: 1, event_types: ['*'] },
    rotateWebhookSecret: { id: 1, old_secret_until: expect.any(String) },
    pingWebhookEndpoint: { event: { type: 'ping' } },
    redeliverWebhook: { id: 1, status: 'pending' },
    recoverWebhooks: { recovered: 0 },
  },
  orchestrator: { createAndConfirmOrder: ANSWER },
}

function successOf({ responses }: Operation): string {
  return Object.keys(responses).find((status) => status.startsWith('2')) ?? 'none'
}

async function demoToken({ orders }: TestSystem): Promise<string> {
  const client = { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'demo-secret' }
  return (await orders.post('/auth/token', client, { token: null })).body.access_token
}

/** After the examples, the printed request of the README still works but for the order's id, and the books balance. */
async function expectAsPrinted(system: TestSystem): Promise<void> {
  const again = await system.orchestrator.post(CREATE_AND_CONFIRM, { ...REQUEST, idempotency_key: 'another' })
  const order = { ...ANSWER.data.order, id: expect.any(Number) }
  expect(again.body).toEqual({ ...ANSWER, data: { ...ANSWER.data, order } })
  expect(await differencesIn(system)).toEqual([])
}

/** The page at the root, and behind the stage of a gateway. */
const PREFIXES = ['', '/dev']

describe.each(SERVICES)('the page of %s as it is sent', (service) => {
  const system = useSystem('sqlite')
  const fetchDocs = () => system[service].get('/docs', { token: null })

  it('when it is fetched, then its policy allows only our files and one hashed script', async () => {
    const { status, headers, text } = await fetchDocs()
    expect({ status, type: headers.get('content-type') }).toEqual({ status: 200, type: 'text/html; charset=UTF-8' })
    const policy = new Map(
      headers
        .get('content-security-policy')
        ?.split('; ')
        .map((directive) => [directive.split(' ')[0], directive.split(' ').slice(1)]),
    )
    const inline = [...text.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(([, script]) => String(script))
    expect(inline).toHaveLength(1)
    const hash = createHash('sha256').update(String(inline[0])).digest('base64')
    expect(policy.get('script-src')).toEqual(["'self'", `'sha256-${hash}'`])
    expect(policy.get('default-src')).toEqual(["'none'"])
    expect(policy.get('connect-src')).toEqual(["'self'"])
    for (const none of ['frame-ancestors', 'base-uri', 'form-action']) expect(policy.get(none)).toEqual(["'none'"])
  })

  it('when its addresses are read, then all are relative, and each file exists', async () => {
    const text = (await fetchDocs()).text.replace(/<nav>.*?<\/nav>/s, '')
    const addresses = [...text.matchAll(/(?:src|href)="([^"]*)"|url: '([^']*)'/g)].map(([, a, b]) => a ?? b)
    expect(addresses.length).toBeGreaterThanOrEqual(4)
    for (const address of addresses) {
      expect(address).toMatch(/^[a-z]/)
      expect(address).not.toMatch(/^\w+:/)
      for (const prefix of PREFIXES) {
        const { status, headers } = await system[service].get(`${prefix}/${address}`, { token: null })
        expect(status).toBe(200)
        expect(headers.get('content-type')).toMatch(
          /^(text\/(css|javascript); charset=utf-8|application\/json|image\/png)$/,
        )
      }
    }
  })

  it('when other files below its path are fetched, then 404', async () => {
    for (const name of [
      'package.json',
      'index.html',
      'constructor',
      '__proto__',
      '..%2fpackage.json',
      '%2e%2e%2fapp.ts',
    ]) {
      const response = await system[service].get(`/docs/swagger-ui-dist/${name}`, { token: null })
      expectProblem(response, 404, 'route_not_found')
    }
  })

  it('when anything else is fetched, then no script in it may run', async () => {
    for (const path of ['/health', '/openapi.json', '/nowhere']) {
      const { headers } = await system[service].get(path)
      expect(headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'")
      expect(headers.get('x-content-type-options')).toBe('nosniff')
    }
  })
})

if (runsInBrowser()) {
  describe('the page in a browser', () => {
    const system = useSystem('sqlite', { ORCHESTRATOR_PUBLIC: 'false' })
    const browser = useBrowser()
    const urlOf = (service: ServiceName, prefix: string) => `${system[service].base}${prefix}/docs`
    const open = (service: ServiceName) => openDocs(browser(), urlOf(service, ''))

    /** A page for each service, opened when a test first needs it: Swagger UI takes seconds to start. */
    function sharedPages(prefix: string): (service: ServiceName) => Promise<DocsPage> {
      const pages = new Map<ServiceName, Promise<DocsPage>>()
      return (service) => {
        const page = pages.get(service) ?? openDocsForSuite(browser(), urlOf(service, prefix))
        pages.set(service, page)
        return page
      }
    }

    describe.each(PREFIXES)('at "%s/docs"', (prefix) => {
      const pageOf = sharedPages(prefix)

      it.each(SERVICES)(
        'when the page of %s is opened, then it shows every route and calls no other host',
        async (service) => {
          const docs = await pageOf(service)
          expect(await docs.title()).toContain(TITLES[service])
          const documented = operations.filter((it) => it.service === service)
          expect((await docs.routes()).sort()).toEqual(documented.map(({ method, path }) => `${method} ${path}`).sort())
          expect({ foreign: docs.foreign, errors: docs.errors }).toEqual({ foreign: [], errors: [] })
          for (const url of docs.requested) expect(url).toContain(`${system[service].base}${prefix}/`)
        },
      )

      it.each([
        ['customers', 'listCustomers', '/customers?'],
        ['orders', 'listOrders', '/orders?'],
      ] as const)('when someone logs in on the page of %s, then %s can be run', async (service, id, path) => {
        const docs = await pageOf(service)
        await docs.logIn('demo', 'demo-secret')
        const { status, body, url } = await docs.execute(operation(service, id))
        expect(status).toBe('200')
        expect(JSON.parse(body).data.length).toBeGreaterThan(0)
        expect(url).toContain(`${system[service].base}${prefix}${path}`)
        expect(docs.requested).toContain(`${system[service].base}${prefix}/auth/token`)
        expect({ foreign: docs.foreign, errors: docs.errors }).toEqual({ foreign: [], errors: [] })
      })

      it('when a token is pasted on the orchestrator’s page, then an order can be placed', async () => {
        const docs = await pageOf('orchestrator')
        await docs.pasteToken(await system.token({ scopes: ['orders:write'] }))
        const { status, body, url } = await docs.execute(operation('orchestrator', 'createAndConfirmOrder'))
        expect(status).toBe('201')
        expect(JSON.parse(body)).toMatchObject({ success: true, data: { order: { status: 'CONFIRMED' } } })
        expect(url).toBe(`${system.orchestrator.base}${prefix}/orchestrator/create-and-confirm-order`)
        expect({ foreign: docs.foreign, errors: docs.errors }).toEqual({ foreign: [], errors: [] })
      })
    })

    describe.each(SERVICES)('the examples of %s', (service) => {
      const fresh = useSystem('sqlite', LOOPBACK)
      const documented = operations.filter((it) => it.service === service)

      async function openAuthorized() {
        const docs = await openDocs(browser(), `${fresh[service].base}/docs`)
        if (service === 'orchestrator') await docs.pasteToken(await demoToken(fresh))
        else {
          await docs.logIn('demo', 'demo-secret')
          await docs.pasteToken(String(fresh.env.serviceTokens[0]), 'serviceToken')
        }
        const order = await docs.routes()
        const placeOf = ({ method, path }: Operation) => order.indexOf(`${method} ${path}`)
        return { docs, inOrder: documented.toSorted((a, b) => placeOf(a) - placeOf(b)) }
      }

      // The second run replays the writes by their keys.
      it('when each is opened and run twice in order, then it fits a screen and succeeds as documented', async () => {
        const { docs, inOrder } = await openAuthorized()
        for (const it of inOrder) {
          expect.soft(await docs.unfold(it), it.operationId).toBeLessThanOrEqual(SCREEN_PIXELS)
          for (const { status, body } of [await docs.execute(it), await docs.execute(it)]) {
            expect({ id: it.operationId, status, body }).toMatchObject({ status: successOf(it) })
            expect(body === '' ? {} : JSON.parse(body)).toMatchObject(DONE[service][it.operationId] ?? {})
          }
          await docs.fold(it)
        }
        expect(docs.errors).toEqual([])
        await expectAsPrinted(fresh)
      }, 300_000)
    })

    const anonymous = sharedPages('')

    it('when a refusal is opened, then its example is shown', async () => {
      const docs = await anonymous('orders')
      await docs.page.locator('#operations-Orders-placeOrder .opblock-summary-control').click()
      const row = docs.page.locator('#operations-Orders-placeOrder tr[data-code="409"]')
      expect(await row.isVisible()).toBe(false)
      await docs.page.getByRole('button', { name: /Refusals: 400, 401/ }).click()
      expect(await row.locator('pre').count()).toBe(0)
      await row.getByRole('button', { expanded: false }).click()
      expect(await row.locator('pre').first().innerText()).toContain('urn:problem:')
    })

    it('when someone has logged in, then nothing is in the browser’s storage', async () => {
      const docs = await open('orders')
      await docs.logIn('demo', 'demo-secret')
      expect((await docs.execute(operation('orders', 'listOrders'))).status).toBe('200')
      const { cookies, origins } = await docs.page.context().storageState({ indexedDB: true })
      const session = await docs.page.evaluate(() => Object.entries(globalThis.sessionStorage))
      expect({ cookies, origins, session }).toEqual({ cookies: [], origins: [], session: [] })
    })

    it('when nobody has logged in, then a protected route shows its 401', async () => {
      const docs = await anonymous('orders')
      const { status, body } = await docs.execute(operation('orders', 'listOrders'))
      expect(status).toMatch(/^401/)
      expect(body).toContain('unauthorized')
    })

    it('when a wrong secret is entered, then the dialog says so, and no browser prompt', async () => {
      const docs = await open('customers')
      await expect(docs.logIn('demo', 'wrong')).rejects.toThrow(/auth error/i)
    })

    it('when a token is requested with the form, then the default values get one', async () => {
      const docs = await open('customers')
      const { status, body } = await docs.execute(operation('customers', 'issueToken'))
      expect({ status, type: JSON.parse(body).token_type }).toEqual({ status: '200', type: 'Bearer' })
    })
  })
}
