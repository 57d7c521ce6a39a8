import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'kysely'
import { describe, expect, it } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { ERRORS } from '../../src/compose/modules.ts'
import { anchorsOf } from '../../testing/anchors.ts'
import { LOOPBACK } from '../../testing/deployment.ts'
import { variablesOf } from '../../testing/fixture.ts'
import { runProgram } from '../../testing/programs.ts'
import { newProduct } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

const TEXT = readFileSync('docs/operations.md', 'utf8')
const EXAMPLE = readFileSync('.env.example', 'utf8')
const MANIFEST = JSON.parse(readFileSync('package.json', 'utf8'))

/** The rows of the tables below a heading, cell by cell. */
function rowsBelow(heading: string): string[][] {
  const [, section = ''] = TEXT.split(`\n## ${heading}\n`)
  const lines = (section.split('\n## ')[0] ?? '').split('\n').filter((line) => line.startsWith('| '))
  return lines.map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  )
}

const inCode = (cell = '') => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code ?? '')

describe('docs/operations.md', () => {
  it('when a refusal has a code, then its status, meaning and remedy are documented', () => {
    const rows = rowsBelow('Error codes').filter(([code]) => code?.startsWith('`'))
    const told = rows.map(([code, status]) => [inCode(code)[0], Number(status)])
    expect(Object.fromEntries(told)).toEqual(Object.fromEntries(ERRORS.map(({ code, status }) => [code, status])))
    expect(told).toHaveLength(ERRORS.length)
    for (const [, , meaning, remedy] of rows) for (const text of [meaning, remedy]) expect(text).toMatch(/\w{2}/)
  })

  it('when a variable limits something, then it is listed with its default', () => {
    const asked = new Set<string>()
    parseEnv(new Proxy<Record<string, string>>({}, { get: (_, name) => void asked.add(String(name)) }))
    const limits = [...asked].filter((name) => /_(MS|SECONDS|MINUTES?|HOURS|DAYS|POOL|PROXIES)$|^MAX_/.test(name))
    expect(limits.length).toBeGreaterThan(12)
    const defaults = limits.map((name) => [name, new RegExp(`^${name}=(.*)$`, 'm').exec(EXAMPLE)?.[1] ?? 'none'])
    const listed = rowsBelow('Limits').map(([name, value]) => [inCode(name)[0], value])
    expect(Object.fromEntries(listed.filter(([name]) => name !== undefined))).toEqual(Object.fromEntries(defaults))
  })

  it('when the services log a line, then its meaning is documented', () => {
    const sources = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((path) =>
      /(?<!\.test)\.ts$/.test(path),
    )
    const logged = sources.flatMap((path) =>
      [...readFileSync(`src/${path}`, 'utf8').matchAll(/\bevent: '(\w+)'/g)].map(([, event]) => event),
    )
    expect(new Set(logged).size).toBeGreaterThan(20)
    const rows = rowsBelow('What to watch').filter(([, level]) => /^(debug|info|warn|error|fatal)/.test(level ?? ''))
    const told = rows.flatMap(([cell]) => inCode(cell))
    expect(new Set(told)).toEqual(new Set(logged))
  })

  it('when it names an npm script or links a file, then that exists', () => {
    const named = [...TEXT.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name ?? '')
    expect(named.filter((name) => MANIFEST.scripts[name] === undefined)).toEqual([])
    const linked = [...TEXT.matchAll(/\]\((?!http)([^)#]+)/g)].map(([, path]) => path ?? '')
    expect(linked.filter((path) => !existsSync(join('docs', path)))).toEqual([])
    const sections = [...TEXT.matchAll(/\]\((?!http)([^)#]*)#([\w-]+)\)/g)]
    for (const [, file = '', anchor] of sections) expect(anchorsOf(file || 'operations.md'), file).toContain(anchor)
  })
})

describeEachEngine('the printed ways to find an order', (engine) => {
  const system = useSystem(engine)
  const KEY = 'purchase-order-4711'
  const [, section = ''] = /\n## "Was this order placed\?"\n(.*?)\n## /s.exec(TEXT) ?? []

  it('when an order has a key and a correlation id, then each of them finds it', async () => {
    const { id: product_id } = await newProduct(system)
    const order = { customer_id: 1, items: [{ product_id, qty: 1 }] }
    const headers = { 'idempotency-key': KEY, 'x-correlation-id': 'req-789' }
    const { body } = await system.orders.post('/orders', order, { headers })
    expect(body.id).toBe(5)
    const commands = [...section.matchAll(/^npm run order:find -- (.*)$/gm)].map(([, args = '']) => args.split(' '))
    expect(commands).toHaveLength(3)
    for (const args of commands) {
      const { code, stdout } = await runProgram('order:find', variablesOf(system.env), args)
      expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^Order 5 was placed\./) })
    }
    const [, path = ''] = /^curl "localhost:3010(\S+)"/m.exec(section) ?? []
    const token = await system.token({ scopes: ['support:read'] })
    expect((await system.orders.get(path, { token })).body).toMatchObject({ data: [{ key: KEY, order: { id: 5 } }] })
  })
})

describeEachEngine('the printed SQL about webhooks', (engine) => {
  const system = useSystem(engine, LOOPBACK)
  const [, printed = ''] = /\n## Webhooks\n.*?```sql\n(.*?)```/s.exec(TEXT) ?? []
  const statements = printed.split(/;\n/).filter((text) => text.trim() !== '')

  it('when events wait, then it shows how many, and how far each endpoint is behind', async () => {
    const url = 'http://127.0.0.1:9/hooks'
    const { body: endpoint } = await system.orders.post('/webhook-endpoints', { url, event_types: ['product.*'] })
    await system.orders.get('/events?after=latest')
    await newProduct(system)
    const rows = async () => {
      const results = statements.map((text) => sql<Record<string, unknown>>`${sql.raw(text)}`.execute(system.db))
      return (await Promise.all(results)).map((result) => result.rows.map((row) => ({ ...row })))
    }
    expect((await rows())[0]).toEqual([{ without_position: 1, since: expect.any(String) }])
    await system.orders.get('/events?after=latest')
    expect((await rows())[1]).toContainEqual(expect.objectContaining({ id: endpoint.id, status: 'enabled', behind: 1 }))
    await system.dispatch()
    expect((await rows())[2]).toContainEqual({ endpoint_id: endpoint.id, pending: 1, since: expect.any(String) })
  })
})

describeEachEngine('the printed SQL of the alerts', (engine) => {
  const system = useSystem(engine)
  const [, section = ''] = /\n## Alerts\n(.*?)\n## /s.exec(TEXT) ?? []
  const blocks = [...section.matchAll(/```sql\n(.*?)```/gs)].map(([, text = '']) => text)

  it.each(blocks)('when somebody looks, then the database understands: %s', async (text) => {
    expect(blocks.length).toBeGreaterThan(4)
    await expect(sql.raw(text.replace(/;\s*$/, '')).execute(system.db)).resolves.toMatchObject({
      rows: expect.any(Array),
    })
  })
})
