import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { openDocs, runsInBrowser, useBrowser } from './support/browser.ts'
import { operationsOf, readDocuments, SERVICES, type ServiceName } from './support/openapi.ts'
import { expectProblem } from './support/problems.ts'
import { useSystem } from './support/system.ts'

const operations = operationsOf(await readDocuments())

function operation(service: ServiceName, operationId: string) {
  const found = operations.find((it) => it.service === service && it.operationId === operationId)
  if (found === undefined) throw new Error(`${service} documents no ${operationId}`)
  return found
}

const TITLES = { customers: 'Customers', orders: 'Orders', orchestrator: 'Orchestrator' }
/** The page at the root, and behind the stage of a gateway. */
const PREFIXES = ['', '/dev']

describe.each(SERVICES)('the page of %s, as it is sent', (service) => {
  const system = useSystem('sqlite')
  const fetchDocs = () => system[service].get('/docs', { token: null })

  it('when it is fetched, then its policy lets run its own scripts alone: files of ours, and one known by its hash', async () => {
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

  it('when its addresses are read, then all are relative, and each file is there', async () => {
    const { text } = await fetchDocs()
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

  it('when other files are asked for beside its own, then there are none', async () => {
    for (const name of [
      'package.json',
      'index.html',
      'constructor',
      '__proto__',
      '..%2fpackage.json',
      '%2e%2e%2fapp.ts',
    ]) {
      const answer = await system[service].get(`/docs/swagger-ui-dist/${name}`, { token: null })
      expectProblem(answer, 404, 'route_not_found')
    }
  })

  it('when anything else is answered, then nothing in it may run', async () => {
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
    const open = (service: ServiceName, prefix: string) => openDocs(browser(), `${system[service].base}${prefix}/docs`)

    describe.each(PREFIXES)('at "%s/docs"', (prefix) => {
      it.each(SERVICES)(
        'when that of %s is opened, then it shows every route and asks no other host',
        async (service) => {
          const docs = await open(service, prefix)
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
      ] as const)('when someone logs in on that of %s, then %s can be run from it', async (service, id, path) => {
        const docs = await open(service, prefix)
        await docs.logIn('demo', 'demo-secret')
        const { status, body, url } = await docs.execute(operation(service, id))
        expect(status).toBe('200')
        expect(JSON.parse(body).data.length).toBeGreaterThan(0)
        expect(url).toContain(`${system[service].base}${prefix}${path}`)
        expect(docs.requested).toContain(`${system[service].base}${prefix}/auth/token`)
        expect({ foreign: docs.foreign, errors: docs.errors }).toEqual({ foreign: [], errors: [] })
      })

      it('when someone pastes a token on that of the orchestrator, then an order can be placed from it', async () => {
        const docs = await open('orchestrator', prefix)
        await docs.pasteToken(await system.token({ scopes: ['orders:write'] }))
        const { status, body, url } = await docs.execute(operation('orchestrator', 'createAndConfirmOrder'))
        expect(status).toBe('201')
        expect(JSON.parse(body)).toMatchObject({ success: true, data: { order: { status: 'CONFIRMED' } } })
        expect(url).toBe(`${system.orchestrator.base}${prefix}/orchestrator/create-and-confirm-order`)
        expect({ foreign: docs.foreign, errors: docs.errors }).toEqual({ foreign: [], errors: [] })
      })
    })

    it('when someone has logged in, then no storage of the browser holds anything', async () => {
      const docs = await open('orders', '')
      await docs.logIn('demo', 'demo-secret')
      expect((await docs.execute(operation('orders', 'listOrders'))).status).toBe('200')
      const { cookies, origins } = await docs.page.context().storageState({ indexedDB: true })
      const session = await docs.page.evaluate(() => Object.entries(globalThis.sessionStorage))
      expect({ cookies, origins, session }).toEqual({ cookies: [], origins: [], session: [] })
    })

    it('when nobody has logged in, then a protected route shows its 401', async () => {
      const docs = await open('orders', '')
      const { status, body } = await docs.execute(operation('orders', 'listOrders'))
      expect(status).toMatch(/^401/)
      expect(body).toContain('unauthorized')
    })

    it('when a wrong secret is given, then the dialog says so, and the browser asks for nothing itself', async () => {
      const docs = await open('customers', '')
      await expect(docs.logIn('demo', 'wrong')).rejects.toThrow(/auth error/i)
    })

    it('when a token is asked for by the form, then the proposed values get one', async () => {
      const docs = await open('customers', '')
      const { status, body } = await docs.execute(operation('customers', 'issueToken'))
      expect({ status, type: JSON.parse(body).token_type }).toEqual({ status: '200', type: 'Bearer' })
    })
  })
}
