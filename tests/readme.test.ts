import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parseEnv } from '../src/platform/env.ts'
import { randomSecret } from '../src/platform/hash.ts'
import { useSystem } from './support/system.ts'

const README = readFileSync('README.md', 'utf8')
const MANIFEST = JSON.parse(readFileSync('package.json', 'utf8'))
const EXAMPLE = readFileSync('.env.example', 'utf8')

/** The code blocks of a language, in their order. */
function blocks(language: string): string[] {
  return [...README.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 'gs'))].map(([, code]) => code ?? '')
}

/** What a printed curl asks for. Lines may be continued; quotes are single. */
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

function curlWith(text: string) {
  const found = blocks('bash')
    .flatMap((block) => block.split(/\n(?=curl)/))
    .find((command) => command.includes(text))
  if (found === undefined) throw new Error(`the README prints no curl with ${text}`)
  return readCurl(found)
}

describe('the README', () => {
  const system = useSystem('sqlite')

  it('when its curl is pasted, then the answer is the one it prints, and again the same bytes', async () => {
    const { method, path, headers, body } = curlWith('/create-and-confirm-order')
    const [printed = ''] = blocks('json')
    const ask = () => fetch(`${system.orchestrator.base}${path}`, { method, headers, body: body ?? null })
    const first = await ask()
    expect(first.status).toBe(201)
    const text = await first.text()
    expect(JSON.parse(text)).toEqual(JSON.parse(printed))
    const again = await ask()
    expect([await again.text(), again.headers.get('idempotent-replayed')]).toEqual([text, 'true'])
  })

  it('when its curl for a token is pasted, then the token opens the route it names', async () => {
    const { path, body, user = '' } = curlWith('/auth/token')
    const headers = { authorization: `Basic ${btoa(user)}`, 'content-type': 'application/x-www-form-urlencoded' }
    const answer = await fetch(`${system.orders.base}${path}`, { method: 'POST', headers, body: body ?? null })
    const { access_token } = await answer.json()
    expect((await system.orders.get('/orders', { token: access_token })).status).toBe(200)
  })

  it('when it names an npm script, then there is one', () => {
    const named = [...README.matchAll(/npm run (?:--silent )?([\w:]+)/g)].map(([, name]) => name)
    expect(named.filter((name) => MANIFEST.scripts[name ?? ''] === undefined)).toEqual([])
  })

  it('when it or a document prints a command, then none fetches another version of a program', () => {
    const documents = ['README.md', 'docs/deploy.md', 'docs/operations.md', 'docs/reliability.md']
    expect(documents.filter((file) => /\bnpx\b/.test(readFileSync(file, 'utf8')))).toEqual([])
  })

  it('when it links a file, then the file is there', () => {
    const linked = [...README.matchAll(/\]\((?!http)([^)#]+)/g)].map(([, path]) => path ?? '')
    expect(linked.filter((path) => !existsSync(path))).toEqual([])
  })
})

describe('.env.example', () => {
  it('when it is copied to .env as it is, then nothing changes, anywhere', () => {
    const lines = EXAMPLE.split('\n').filter((line) => /^\w+=/.test(line))
    const record = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    )
    expect(parseEnv(record)).toEqual(parseEnv({}))
    // Nor does anything in it belong to development alone.
    const production = { NODE_ENV: 'production', JWT_SECRET: randomSecret(), SERVICE_TOKEN: randomSecret() }
    expect(parseEnv({ ...production, ...record })).toEqual(parseEnv(production))
  })
})
