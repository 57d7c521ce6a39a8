import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const SOURCES = fileURLToPath(new URL('../../src', import.meta.url))

/** Folders that are no domain: what all stand on, and the programs that put everything together. */
const PLATFORM = 'platform'
const PROGRAMS = ['compose', 'entrypoints', 'functions', 'commands']

/** What another domain may do with a domain's rows, inside its own transaction. */
const ROWS = ['stock', 'customer-rows']
/** What another domain may import. */
const DOORS = ['client', 'contract', ...ROWS]

interface Import {
  /** A path below src, or a package. */
  from: string
  typeOnly: boolean
}

interface Source {
  path: string
  folder: string
  /** The file's role in its folder: `app`, `service`, `store`, … */
  role: string
  /** Without imports and comments, and with texts emptied. */
  code: string
  imports: Import[]
}

const sources = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))
  .map(readSource)

const domains = [...new Set(sources.map(({ folder }) => folder))].filter(
  (folder) => folder !== PLATFORM && !PROGRAMS.includes(folder),
)

function readSource(path: string): Source {
  const text = readFileSync(join(SOURCES, path), 'utf8')
  const [folder = ''] = path.split('/')
  return { path, folder, role: posix.basename(path, '.ts'), code: codeOf(text), imports: importsOf(path, text) }
}

/** Every `import` and `export … from`, the dynamic ones too. */
function importsOf(path: string, text: string): Import[] {
  const statements = text.matchAll(/^(?:import|export)\b(?<what>[^'"]*?)\bfrom\s+'(?<from>[^']+)'/gm)
  const bare = text.matchAll(/\bimport\s*\(?\s*'(?<from>[^']+)'/g)
  return [...statements, ...bare].map(({ groups: { what = '', from = '' } = {} }) => ({
    from: from.startsWith('.') ? posix.normalize(posix.join(posix.dirname(path), from)) : from,
    typeOnly: isTypeOnly(what),
  }))
}

/** `import type { A }` and `import { type A, type B }` leave nothing behind at run time. */
function isTypeOnly(what: string): boolean {
  if (/^\s+type\b/.test(what)) return true
  const names =
    /^\s*\{([^}]*)\}\s*$/
      .exec(what)?.[1]
      ?.split(',')
      .filter((name) => name.trim() !== '') ?? []
  return names.length > 0 && names.every((name) => /^\s*type\s/.test(name))
}

function codeOf(text: string): string {
  const withoutImports = text.replace(/^(?:import|export)\b[^'"]*?\bfrom\s+'[^']+'$/gm, '')
  const literals = /\/\*[\s\S]*?\*\/|\/\/.*$|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\[\s\S])*`/gm
  return withoutImports.replace(literals, (match) => {
    if (match.startsWith('/')) return ''
    return match.startsWith('`') ? holesOf(match) : "''"
  })
}

/** Of a template only the code in it. */
function holesOf(template: string): string {
  return `(${Array.from(template.matchAll(/\$\{([^{}]*)\}/g), ([, code]) => code).join(', ')})`
}

/** What breaks a rule, as `file: import`, so that a failure names its place. */
function breaches(of: (source: Source) => boolean, isBreach: (source: Source, imported: Import) => boolean): string[] {
  return sources
    .filter(of)
    .flatMap((source) =>
      source.imports
        .filter((imported) => isBreach(source, imported))
        .map(({ from, typeOnly }) => `${source.path}: ${typeOnly ? 'type of ' : ''}${from}`),
    )
}

const isDomain = ({ folder }: Source) => domains.includes(folder)
const domainOf = (path: string) => domains.find((domain) => path.startsWith(`${domain}/`))
const isHono = ({ from }: Import) => /^(hono|@hono)(\/|$)/.test(from) || from === 'hono-rate-limiter'

describe('the sources', () => {
  it('when they are read, then the folders and the imports that the rules speak of are there', () => {
    expect(domains).toEqual(expect.arrayContaining(['customers', 'identity', 'orchestrator', 'orders', 'products']))
    const orders = sources.find(({ path }) => path === 'orders/service.ts')
    expect(orders?.imports).toContainEqual({ from: 'customers/client.ts', typeOnly: true })
    expect(orders?.imports).toContainEqual({ from: 'orders/store.ts', typeOnly: false })
  })

  it('when a domain imports itself, then it goes one way: app, service, store', () => {
    const above: Record<string, string[]> = {
      service: ['app'],
      store: ['app', 'service'],
      contract: ['app'],
      client: ['app'],
    }
    const found = breaches(isDomain, ({ folder, role }, { from }) =>
      (above[role] ?? (role === 'app' ? [] : ['app'])).some((other) => from === `${folder}/${other}.ts`),
    )
    expect(found).toEqual([])
  })

  it('when a domain imports another, then it is its client, its contract or its rows, or its app to be mounted', () => {
    const found = breaches(isDomain, ({ folder, role }, { from, typeOnly }) => {
      const other = domainOf(from)
      if (other === undefined || other === folder) return false
      const open = DOORS.some((door) => from === `${other}/${door}.ts`)
      const mounted = role === 'app' && (from === `${other}/app.ts` || (typeOnly && from === `${other}/service.ts`))
      return !open && !mounted
    })
    expect(found).toEqual([])
  })

  it('when a domain knows of HTTP, then only in its app, its contract and its client', () => {
    const outer = ['app', 'contract', 'client']
    expect(
      breaches(
        (source) => isDomain(source) && !outer.includes(source.role),
        (_, imported) => isHono(imported),
      ),
    ).toEqual([])
  })

  it('when a domain knows of SQL, then only in its store, its tables and its rows', () => {
    const inner = ['store', 'tables', ...ROWS]
    const found = breaches(
      (source) => isDomain(source) && !inner.includes(source.role),
      (_, { from }) => /^(kysely|mysql2|node:sqlite)/.test(from),
    )
    expect(found).toEqual([])
  })

  it('when the platform imports something, then it is no domain and no program', () => {
    const found = breaches(
      ({ folder }) => folder === PLATFORM,
      (_, { from }) => domainOf(from) !== undefined || PROGRAMS.some((folder) => from.startsWith(`${folder}/`)),
    )
    expect(found).toEqual([])
  })

  it('when a domain imports something, then it is no program', () => {
    const found = breaches(isDomain, (_, { from }) => PROGRAMS.some((folder) => from.startsWith(`${folder}/`)))
    expect(found).toEqual([])
  })

  it('when modules import each other, then never in a circle', () => {
    expect(circles(({ typeOnly }) => !typeOnly)).toEqual([])
  })

  it('when modules import types of each other, then never in a circle', () => {
    // In platform/http, contracts and the app still import types of each other.
    const found = circles(() => true).filter((path) => !path.startsWith('platform/http/'))
    expect(found).toEqual([])
  })

  const forbidden: { what: string; pattern: RegExp; except: (source: Source) => boolean; sample: string }[] = [
    {
      what: 'the environment',
      pattern: /process\.env\b/,
      except: ({ folder }) => PROGRAMS.includes(folder),
      sample: 'const port = process.env.PORT',
    },
    { what: 'the type any', pattern: /(?<![.\w])any\b/, except: () => false, sample: 'const value: any = 1' },
    {
      what: 'a cast',
      pattern: /\bas\s+(?!const\b)[\w({['"]/,
      except: ({ path }) => path === 'platform/core/unsafe-cast.ts',
      sample: 'const value = row as Row',
    },
    {
      what: 'a cast in angle brackets',
      pattern: /(?<![\w.\])>] ?)<[A-Z]\w*>\s*[\w(]/,
      except: () => false,
      sample: 'const value = <Row>row',
    },
    {
      what: 'a non-null assertion',
      pattern: /[\w)\]]!(?!=)/,
      except: () => false,
      sample: 'const value = rows[0]!.id',
    },
  ]

  it.each(forbidden)('when they are searched for $what, then only those that may have it do', (rule) => {
    expect(rule.sample).toMatch(rule.pattern)
    const found = sources
      .filter((source) => !rule.except(source))
      .flatMap(({ path, code }) => code.split('\n').map((line) => ({ path, line: line.trim() })))
      .filter(({ line }) => rule.pattern.test(line))
    expect(found).toEqual([])
  })

  it('when code is read, then texts and comments are no part of it, and what templates compute is', () => {
    const text = `a('as B') // as C\n/* as D\n as E */ b(\`as F \${g as H}\`)\nimport { i as J } from './k.ts'`
    const code = codeOf(text)
    expect(code.match(/\bas \w/g)).toEqual(['as H'])
  })
})

/** The modules that are in circles of these imports, or between two: what is left without the ends of all chains. */
function circles(counts: (imported: Import) => boolean): string[] {
  let left = new Map(sources.map(({ path, imports }) => [path, imports.filter(counts).map(({ from }) => from)]))
  for (;;) {
    const imported = new Set([...left.values()].flat())
    const inner = [...left].filter(([path, others]) => imported.has(path) && others.some((other) => left.has(other)))
    if (inner.length === left.size) return [...left.keys()]
    left = new Map(inner)
  }
}
