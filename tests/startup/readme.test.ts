import { existsSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseEnv, VARIABLES } from '../../src/compose/env.ts'
import { randomSecret } from '../../src/platform/core/crypto.ts'
import { readBanner } from '../../testing/banner.ts'
import { freePort } from '../../testing/database-server.ts'
import { freshDatabase, startProgram, until } from '../../testing/programs.ts'
import { useSystem } from '../../testing/system.ts'

const READMES = ['README.md', 'README.es.md']
const FREE_PORTS = { CUSTOMERS_PORT: '0', ORDERS_PORT: '0', ORCHESTRATOR_PORT: '0' }
const OLD_SYSTEM = 'docs/from-the-old-system.md'
const MANIFEST = JSON.parse(readFileSync('package.json', 'utf8'))
const EXAMPLE = readFileSync('.env.example', 'utf8')

const read = (file: string) => readFileSync(file, 'utf8')

/** The code blocks of a language, in order. */
function blocks(file: string, language: string): string[] {
  return [...read(file).matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 'gs'))].map(([, code]) => code ?? '')
}

/** The code within sentences and tables. */
function spans(file: string): string[] {
  const prose = read(file).replace(/```.*?```/gs, '')
  return [...prose.matchAll(/`([^`]+)`/g)].map(([, code]) => code?.replaceAll('\n', ' ') ?? '')
}

/** The request of a printed curl. Lines may be continued; quotes are single. */
function readCurl(command: string) {
  const line = command.replaceAll('\\\n', ' ')
  const [, method = 'GET'] = /-X (\w+)/.exec(line) ?? []
  const [, path = ''] = /localhost:\d+(\S*)/.exec(line) ?? []
  const headers = Object.fromEntries(
    [...line.matchAll(/-H '([^:]+): ([^']+)'/g)].map(([, name, value]) => [name, value]),
  )
  const [, body] = /-d '?([^'\s]+)'?/.exec(line) ?? []
  const [, user] = /-u (\S+)/.exec(line) ?? []
  return { method, path, headers, body, user }
}

function curlWith(file: string, text: string) {
  const found = blocks(file, 'bash')
    .flatMap((block) => block.split(/\n(?=curl)/))
    .find((command) => command.includes(text))
  if (found === undefined) throw new Error(`${file} prints no curl with ${text}`)
  return readCurl(found)
}

describe.each(READMES)('%s', (file) => {
  const system = useSystem('sqlite')

  it('when its curl is pasted twice, then each response is the printed one', async () => {
    const { method, path, headers, body } = curlWith(file, '/create-and-confirm-order')
    const [printed = ''] = blocks(file, 'json')
    const ask = () => fetch(`${system.orchestrator.base}${path}`, { method, headers, body: body ?? null })
    const first = await ask()
    expect(first.status).toBe(201)
    const text = await first.text()
    expect(JSON.parse(text)).toEqual(JSON.parse(printed))
    const again = await ask()
    expect([await again.text(), again.headers.get('idempotent-replayed')]).toEqual([text, 'true'])
  })

  it('when its curl for a token is pasted, then the token opens the route it names', async () => {
    const { path, body, user = '' } = curlWith(file, '/auth/token')
    const headers = { authorization: `Basic ${btoa(user)}`, 'content-type': 'application/x-www-form-urlencoded' }
    const response = await fetch(`${system.orders.base}${path}`, { method: 'POST', headers, body: body ?? null })
    const { access_token } = await response.json()
    expect((await system.orders.get('/orders', { token: access_token })).status).toBe(200)
  })
})

describe.each(READMES)('%s', (file) => {
  it('when its tour of webhooks is followed, then an order arrives signed, and is in the feed', async () => {
    const { orders, orchestrator } = await readBanner(
      startProgram('start', { ...FREE_PORTS, ...freshDatabase('sqlite') }),
    )
    const port = String(await freePort())
    const { method, path, body = '' } = curlWith(file, '/webhook-endpoints')
    const registered = await orders.call(method, path, { body: body.replace('4000', port) })
    expect(registered.body).toMatchObject({ url: `http://127.0.0.1:${port}`, secret: expect.any(String) })

    const [, printed = ''] = /^npm run webhooks:listen -- (.+)$/m.exec(blocks(file, 'bash').join('\n')) ?? []
    const args = printed.replace('whsec_…', registered.body.secret).split(' ')
    const listener = startProgram('webhooks:listen', {}, [...args, '--port', port])
    await until(
      () => (listener.stdout().includes('Webhooks are received') ? true : undefined),
      () => `it does not listen\n${listener.stderr()}`,
    )
    const order = curlWith(file, 'abc-124')
    const placed = await orchestrator.call(order.method, order.path, { body: order.body, token: null })
    const { id } = placed.body.data.order
    const [, line] = await until(
      () => /\n(.+)\n/.exec(listener.stdout()) ?? undefined,
      () => `nothing arrived\n${listener.stdout()}`,
    )
    const [shown = ''] = blocks(file, 'text')
    expect(line).toMatch(new RegExp(`^${shown.trim().replace(/[.+]/g, '\\$&').replace(/\d+/g, '\\d+')}$`))
    expect(line).toContain(`order ${id} `)
    expect((await orchestrator.get(curlWith(file, '/metrics').path)).text).toContain(
      'b2b_orders_total{outcome="confirmed"} ',
    )
    const feed = await orders.get(curlWith(file, '/events?').path.replace(/"$/, ''))
    const resource = { type: 'order', id, version: 1 }
    expect(feed.body.data).toContainEqual(expect.objectContaining({ type: 'order.placed', resource }))
  })
})

describe.each([...READMES, OLD_SYSTEM])('what %s names', (file) => {
  it('when it is an npm script, then it exists', () => {
    const named = [...read(file).matchAll(/npm run (?:--silent )?([\w:]+)/g)].map(([, name]) => name)
    expect(named.filter((name) => MANIFEST.scripts[name ?? ''] === undefined)).toEqual([])
  })

  it('when a document prints a command, then none fetches a program of another version', () => {
    const documents = [...READMES, 'docs/deploy.md', 'docs/operations.md', 'docs/reliability.md']
    expect(documents.filter((file) => /\bnpx\b/.test(readFileSync(file, 'utf8')))).toEqual([])
  })

  it('when it is a linked file, then the file exists', () => {
    const linked = [...read(file).matchAll(/\]\((?!http)([^)#]+)/g)].map(([, path]) => path ?? '')
    expect(linked.filter((path) => !existsSync(posix.join(posix.dirname(file), path)))).toEqual([])
  })
})

describe('the README in Spanish', () => {
  const [english = '', spanish = ''] = READMES

  it('when its code blocks are read, then they equal the English ones', () => {
    for (const language of ['bash', 'json']) expect(blocks(spanish, language)).toEqual(blocks(english, language))
  })

  it('when the code in its sentences is read, then it equals the English one', () => {
    expect(spans(spanish).sort()).toEqual(spans(english).sort())
  })

  it('when its sections and tables are counted, then the English one has as many', () => {
    const linesOf = (file: string, start: RegExp) =>
      read(file)
        .split('\n')
        .filter((line) => start.test(line)).length
    for (const start of [/^## /, /^\|/]) expect(linesOf(spanish, start)).toBe(linesOf(english, start))
  })
})

describe('the way from the old system', () => {
  const system = useSystem('sqlite')

  /** The cells of a section's table, without its head. */
  function rowsOf(section: string): string[][] {
    const [, text = ''] = new RegExp(`\n## ${section}\n(.*?)(\n## |$)`, 's').exec(read(OLD_SYSTEM)) ?? []
    const lines = text.split('\n').filter((line) => line.startsWith('|'))
    return lines.slice(2).map((line) => line.split(/(?<!\\)\|/).slice(1, -1))
  }
  const codeIn = (cell = '') => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code ?? '')

  it('when it says where a file is now, then the file exists', () => {
    const paths = rowsOf('Folders').flatMap(([, now]) => codeIn(now).filter((code) => /^[\w.-]+[/.]/.test(code)))
    expect(paths.length).toBeGreaterThan(15)
    const known = (path: string) => existsSync(path) || existsSync(`src/customers/${path}`) || path === '.env'
    expect(paths.filter((path) => !known(path))).toEqual([])
  })

  it('when it names a variable, then a service reads it', () => {
    const names = rowsOf('Variables').flatMap((cells) => codeIn(cells.join()).map((code) => code.replace(/=.*/, '')))
    expect(names.length).toBeGreaterThan(10)
    expect(names.filter((name) => /^[A-Z_]+$/.test(name) && !VARIABLES.includes(name))).toEqual([])
  })

  it('when it says which columns are new, then a table has those and the old ones', async () => {
    const old: Record<string, string[]> = {
      customers: ['id', 'name', 'email', 'phone', 'created_at'],
      products: ['id', 'sku', 'name', 'price_cents', 'stock', 'created_at'],
      orders: ['id', 'customer_id', 'status', 'total_cents', 'created_at'],
      order_items: ['id', 'order_id', 'product_id', 'qty', 'unit_price_cents', 'subtotal_cents'],
      idempotency_keys: ['key', 'target_type', 'target_id', 'status', 'response_body', 'created_at', 'expires_at'],
    }
    const tables = new Map((await system.db.introspection.getTables()).map(({ name, columns }) => [name, columns]))
    const rows = rowsOf('Tables').map(([table, added]) => ({ names: codeIn(table), added: codeIn(added) }))
    expect(rows.flatMap(({ names }) => names).sort()).toEqual([...tables.keys()].sort())
    for (const {
      names: [name = ''],
      added,
    } of rows.filter(({ names }) => names.length === 1)) {
      const columns = tables.get(name)?.map((column) => column.name)
      expect(columns?.sort(), name).toEqual([...(old[name] ?? []), ...added].sort())
    }
  })

  it('when it names its author and licence, then they are those of the old document', () => {
    expect(read(OLD_SYSTEM)).toMatch(/Edison Reinoso.*MIT/s)
  })
})

describe('.env.example', () => {
  it('when it is copied to .env unchanged, then no setting changes', () => {
    const lines = EXAMPLE.split('\n').filter((line) => /^\w+=/.test(line))
    const record = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    )
    expect(parseEnv(record)).toEqual(parseEnv({}))
    // Production refuses all values that are for development alone.
    const production = { NODE_ENV: 'production', JWT_SECRET: randomSecret(), SERVICE_TOKEN: randomSecret() }
    expect(parseEnv({ ...production, ...record })).toEqual(parseEnv(production))
  })
})
