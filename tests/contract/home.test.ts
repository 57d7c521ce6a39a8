import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { composeCustomers, composeOrchestrator, composeOrders } from '../../src/compose/services.ts'
import { behindGateway } from '../../src/functions/gateway.ts'
import { unsafeCast } from '../../src/platform/core/unsafe-cast.ts'
import { serve } from '../../src/platform/http/server.ts'
import { runsInBrowser, useBrowser } from '../../testing/browser.ts'
import { freePort } from '../../testing/database-server.ts'
import { bytesOf, type FunctionResult, headersOf, WAYS, type Way } from '../../testing/events.ts'
import { SERVICES, type ServiceName } from '../../testing/openapi.ts'
import { expectProblem } from '../../testing/problems.ts'
import { createTestDatabase, useSystem } from '../../testing/system.ts'

const OF_A_BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'
const TITLES = { customers: 'Customers', orders: 'Orders', orchestrator: 'Orchestrator' }
const PRODUCTION = { NODE_ENV: 'production', JWT_SECRET: 'j'.repeat(32), SERVICE_TOKEN: 's'.repeat(32) }
/** The root paths: bare, and behind a stage with and without a slash at its end. */
const ROOTS = ['/', '/dev', '/dev/']

/** All addresses of a page. */
function addressesOf(page: string): string[] {
  return [...page.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address]) => String(address))
}

const asBrowser = { token: null, headers: { accept: OF_A_BROWSER } }

describe.each(SERVICES)('the root of %s', (service) => {
  const system = useSystem('sqlite')

  it.each(ROOTS)('when a program calls %s, then it gets the addresses to continue with', async (root) => {
    const { status, headers, body } = await system[service].get(root, { token: null })
    expect({ status, type: headers.get('content-type') }).toEqual({ status: 200, type: 'application/json' })
    const { service: name, version, services, ...links } = body
    const { body: document } = await system[service].get('/openapi.json')
    expect({ name, version }).toEqual({ name: service, version: document.info.version })
    expect(Object.keys(links)).toEqual(['docs', 'openapi', 'health', 'ready'])
    for (const link of Object.values<string>(links)) {
      const { pathname } = new URL(link, `${system[service].base}${root}`)
      expect(pathname.startsWith('/dev/')).toBe(root !== '/')
      expect((await system[service].get(pathname, { token: null })).status, pathname).toBe(200)
    }
    // The tests' ports are in no configuration.
    expect(services).toEqual({})
  })

  it.each(ROOTS)('when a browser opens %s, then it shows a page whose every link works', async (root) => {
    const { status, headers, text } = await system[service].get(root, asBrowser)
    expect({ status, type: headers.get('content-type') }).toEqual({ status: 200, type: 'text/html; charset=UTF-8' })
    expect(text).toContain(`<h1>${TITLES[service]}</h1>`)
    const addresses = addressesOf(text)
    expect(addresses).toHaveLength(5)
    for (const address of addresses) {
      expect(address).not.toMatch(/^(\w+:|\/)/)
      const { pathname } = new URL(address, `${system[service].base}${root}`)
      expect((await system[service].get(pathname, { token: null })).status, pathname).toBe(200)
    }
  })

  it('when the page is sent, then its policy allows its style and icon alone', async () => {
    const { headers, text } = await system[service].get('/', asBrowser)
    const [, style = ''] = /<style>([\s\S]*?)<\/style>/.exec(text) ?? []
    const hash = createHash('sha256').update(style).digest('base64')
    expect(headers.get('content-security-policy')).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    )
    expect(headers.get('vary')).toBe('accept')
    expect(text).not.toMatch(/<script|style=/)
  })

  it.each([
    ['nothing', undefined, 'application/json'],
    ['anything', '*/*', 'application/json'],
    ['JSON rather', 'text/html;q=0.5, application/json', 'application/json'],
    ['HTML', 'text/html', 'text/html; charset=UTF-8'],
  ])('when %s is accepted, then that is sent', async (_, accept, type) => {
    const response = await fetch(system[service].base, { headers: accept ? { accept } : {} })
    expect(response.headers.get('content-type')).toBe(type)
  })

  it.each([[{}], [{ accept: OF_A_BROWSER }]])(
    'when HEAD is sent with %o, then the headers are those of GET',
    async (headers) => {
      const [head, get] = await Promise.all(
        ['HEAD', 'GET'].map((method) => system[service].call(method, '/', { token: null, headers })),
      )
      expect({ status: head?.status, text: head?.text }).toEqual({ status: 200, text: '' })
      expect(head?.headers.get('content-type')).toBe(get?.headers.get('content-type'))
    },
  )

  it('when it is posted to, then 405 with Allow: GET, HEAD', async () => {
    const response = await system[service].post('/', {})
    expectProblem(response, 405, 'method_not_allowed')
    expect(response.headers.get('allow')).toBe('GET, HEAD')
  })

  it.each(['', '/dev'])('when "%s/docs/" is opened, then it redirects to /docs', async (prefix) => {
    const response = await fetch(`${system[service].base}${prefix}/docs/`, { redirect: 'manual' })
    expect(response.status).toBe(308)
    expect(response.headers.get('location')).toBe('../docs')
    const followed = await fetch(`${system[service].base}${prefix}/docs/`)
    expect([followed.status, followed.url]).toEqual([200, `${system[service].base}${prefix}/docs`])
  })

  it('when an internal path is spelled differently, then it is not the root', async () => {
    for (const path of ['/%69nternal/customers/1', '/internal%2fcustomers']) {
      expectProblem(await system[service].get(path, { token: null }), 404, 'route_not_found')
    }
  })
})

describe.each(SERVICES)('the root of %s in production', (service) => {
  const system = useSystem('sqlite', PRODUCTION)

  it('when it is opened, then it names no demo data and no other service', async () => {
    const { text } = await system[service].get('/', asBrowser)
    expect(text).toContain('API documentation')
    expect(text).not.toMatch(/curl|demo|abc-123|other services/i)
    expect((await system[service].get('/', { token: null })).body.services).toEqual({})
    expect((await system[service].get('/docs', { token: null })).text).not.toMatch(/<a href="\w+:/)
  })
})

/** The three services, each at its own port, as `npm start` has them, until the test ends. */
async function startAtOwnPorts(variables: Record<string, string> = {}) {
  const ports = { customers: await freePort(), orders: await freePort(), orchestrator: await freePort() }
  const { db, variables: database, drop } = await createTestDatabase('sqlite')
  onTestFinished(drop)
  const env = parseEnv({
    ...database,
    CUSTOMERS_PORT: String(ports.customers),
    ORDERS_PORT: String(ports.orders),
    ORCHESTRATOR_PORT: String(ports.orchestrator),
    ...variables,
  })
  const logger = pino({ level: 'silent' })
  const lifecycle = { draining: false }
  const at = (service: ServiceName) => `http://127.0.0.1:${ports[service]}`
  const apps = {
    customers: composeCustomers(env, db, logger, lifecycle).app,
    orders: composeOrders(env, db, at('customers'), logger, lifecycle).app,
    orchestrator: composeOrchestrator(env, { customers: at('customers'), orders: at('orders') }, logger, lifecycle),
  }
  for (const service of SERVICES) {
    const serving = await serve(apps[service], ports[service])
    onTestFinished(() => serving.close())
  }
  return { ports, at }
}

const readPage = async (url: string) => (await fetch(url, { headers: { accept: OF_A_BROWSER } })).text()
const readServices = async (url: string) => (await (await fetch(url)).json()).services

describe('the links between the services', () => {
  it('when each has its own port, then each page links the docs of the others', async () => {
    const { at } = await startAtOwnPorts()
    for (const service of SERVICES) {
      const others = SERVICES.filter((other) => other !== service)
      for (const page of ['/', '/docs', '/dev/docs']) {
        const links = addressesOf(await readPage(`${at(service)}${page}`)).filter((it) => /^http.*docs$/.test(it))
        expect(links.sort()).toEqual(others.map((other) => `${at(other)}/docs`).sort())
        for (const link of links) expect((await fetch(link)).status).toBe(200)
      }
      const services = await readServices(at(service))
      expect(services).toEqual(Object.fromEntries(others.map((other) => [other, at(other)])))
    }
  })

  it('when it is called by another name of the machine, then the links have that name', async () => {
    const { ports } = await startAtOwnPorts()
    expect(await readServices(`http://localhost:${ports.customers}/`)).toEqual({
      orchestrator: `http://localhost:${ports.orchestrator}`,
      orders: `http://localhost:${ports.orders}`,
    })
  })

  it('when each has its own port, then each page prints the request of the README', async () => {
    const { at } = await startAtOwnPorts()
    const [, printed = ''] = /```bash\n(curl -X POST .*?)```/s.exec(readFileSync('README.md', 'utf8')) ?? []
    const expected = printed
      .replace('localhost:3000', at('orchestrator'))
      .replace(/[\\\s]+/g, ' ')
      .trim()
    for (const service of SERVICES) {
      const [, pre = ''] = /<pre>(.*?)<\/pre>/s.exec(await readPage(at(service))) ?? []
      const command = pre.replaceAll('&quot;', '"').replaceAll('&#39;', "'")
      expect(command.replace(/[\\\s]+/g, ' ').trim()).toBe(expected)
    }
  })

  it('when it is called through a proxy, then no address is guessed', async () => {
    const { at } = await startAtOwnPorts()
    const { incoming } = await callAs('shop.example', at('customers'))
    expect(incoming).not.toMatch(/other services|curl|shop\.example/)
  })

  it('when variables name the other services, then a browser can follow the links', async () => {
    const { at } = await startAtOwnPorts({
      CUSTOMERS_API_BASE: 'https://customers.example/b2b',
      ORDERS_API_BASE: 'http://orders-api:3010',
    })
    const services = await readServices(at('orchestrator'))
    expect(services.customers).toBe('https://customers.example/b2b')
    // A name of a container network is useless outside it: link to its port on this machine.
    expect(services.orders).toBe(at('orders'))
  })
})

/** Sends a request with a different Host header, as a proxy may pass it on. */
async function callAs(host: string, url: string): Promise<{ incoming: string }> {
  const { request } = await import('node:http')
  return new Promise((resolve, reject) => {
    const sent = request(url, { headers: { host, accept: OF_A_BROWSER } }, (response) => {
      let incoming = ''
      response.setEncoding('utf8')
      response.on('data', (text: string) => {
        incoming += text
      })
      response.on('end', () => resolve({ incoming }))
    })
    sent.on('error', reject).end()
  })
}

/** A line of the list of other services. */
const OTHER = /<a href="([^"]*)">(\w+)<\/a>: <a href="([^"]*)">documentation/g
const PREFIXES = { customers: '/customers-api', orders: '/orders-api', orchestrator: '' }

describe.each(WAYS)('the root behind $title', (way) => {
  const handlers = {} as Record<ServiceName, (event: unknown) => Promise<FunctionResult>>
  let dropDatabase = async () => {}
  afterAll(() => dropDatabase())

  beforeAll(async () => {
    const env = parseEnv({
      ...PRODUCTION,
      DB_FILE: ':memory:',
      CUSTOMERS_API_BASE: 'lambda://customers-api-dev',
      ORDERS_API_BASE: 'lambda://orders-api-dev',
    })
    const { db, drop } = await createTestDatabase('sqlite')
    dropDatabase = drop
    const logger = pino({ level: 'silent' })
    const lifecycle = { draining: false }
    const bases = { customers: env.customersBase ?? '', orders: env.ordersBase ?? '' }
    const apps = {
      customers: composeCustomers(env, db, logger, lifecycle).app,
      orders: composeOrders(env, db, bases.customers, logger, lifecycle).app,
      orchestrator: composeOrchestrator(env, bases, logger, lifecycle),
    }
    for (const service of SERVICES) {
      const prefixes = service === 'orchestrator' ? [] : [PREFIXES[service]]
      const handle = behindGateway(apps[service], prefixes)
      handlers[service] = async (event) =>
        unsafeCast<FunctionResult>(await handle(unsafeCast<Parameters<typeof handle>[0]>(event)))
    }
  })

  it.each(SERVICES)(
    'when the root of %s is opened, then each of its links leads to the right service',
    async (service) => {
      const front = way.prefixed ? PREFIXES[service] : ''
      for (const root of [front, `${front}/`].filter((path) => path !== '')) {
        const page = await open(way, service, root)
        expect(page.headers.get('content-type')).toBe('text/html; charset=UTF-8')
        const isRest = way.title.startsWith('a REST API')
        expect(page.text.includes('other services')).toBe(isRest)
        const follow = (address: string) =>
          openOutside(way, service, new URL(address, `https://api.example${way.front('')}${root}`).pathname)
        // No upstream runs here, so nothing is ready.
        for (const address of addressesOf(page.text).filter((it) => !it.endsWith('ready'))) {
          expect((await follow(address)).status, `${address} of ${root}`).toBe(200)
        }
        for (const [, home = '', title, docs = ''] of page.text.matchAll(OTHER)) {
          expect((await follow(home)).text).toContain(`<h1>${title}</h1>`)
          expect((await follow(docs)).text).toContain(`<title>${title} – API</title>`)
        }
      }
    },
  )

  async function open(through: Way, service: ServiceName, path: string) {
    const result = await handlers[service](
      through.eventOf({ method: 'GET', path, headers: { accept: OF_A_BROWSER, Accept: OF_A_BROWSER } }),
    )
    return { status: result.statusCode, headers: headersOf(result), text: bytesOf(result).toString() }
  }

  /** Calls the function to which serverless.yml routes that path. */
  function openOutside(through: Way, own: ServiceName, outside: string) {
    const path = outside.slice(through.front('').length) || '/'
    if (!through.prefixed) return open(through, own, path)
    const service = SERVICES.find((it) => it !== 'orchestrator' && `${path}/`.startsWith(`${PREFIXES[it]}/`))
    return open(through, service ?? 'orchestrator', path)
  }
})

if (runsInBrowser()) {
  describe('the root in a browser', () => {
    const browser = useBrowser()

    it('when its links are followed, then they lead to another service and its root', async () => {
      const { at } = await startAtOwnPorts()
      const page = await browser().newPage()
      onTestFinished(() => page.close())
      const errors: string[] = []
      page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
      await page.goto(`${at('orchestrator')}/dev`)
      expect(await page.locator('h1').innerText()).toBe('Orchestrator')
      await page.getByRole('link', { name: 'API documentation' }).click()
      await page.locator('nav').getByRole('link', { name: 'Customers' }).click()
      await page.locator('.info .title', { hasText: 'Customers' }).waitFor()
      await page.getByRole('link', { name: 'This service' }).click()
      expect(await page.locator('h1').innerText()).toBe('Customers')
      expect(errors).toEqual([])
    }, 120_000)
  })
}
