import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { cruise } from 'dependency-cruiser'
import { describe, expect, it, onTestFinished } from 'vitest'
import config from '../../.dependency-cruiser.ts'
import { roomsText } from '../../scripts/rooms-text.ts'
import { BINARIES, ROOT } from '../../testing/programs.ts'

type Sources = Record<string, string>

/** Sources as the rules want them: what is imported here is allowed. */
const SOUND: Sources = {
  'src/platform/core/time.ts': '',
  'src/platform/http/contract.ts': "import '@hono/zod-openapi'",
  'src/platform/telemetry/otlp.ts': "import '@opentelemetry/api'",
  'src/platform/telemetry/open-tracing.ts': "await import('./otlp.ts')",
  'src/customers/contract.ts': "import '../platform/http/contract.ts'; import '@hono/zod-openapi'",
  'src/customers/tables.ts': "import type { Generated } from 'kysely'",
  'src/customers/store.ts': "import { sql } from 'kysely'; import './tables.ts'",
  'src/customers/service.ts': "import './store.ts'; import '../platform/core/time.ts'",
  'src/customers/client.ts': "import type { CustomersService } from './service.ts'",
  'src/customers/app.ts': "import './contract.ts'; import './service.ts'",
  'src/orders/contract.ts': "import '../customers/contract.ts'",
  'src/orders/store.ts': "import '../customers/tables.ts'",
  'src/orders/service.ts': "import './store.ts'; import '../customers/client.ts'",
  'src/orders/app.ts': `import { Hono } from 'hono'; import './contract.ts'; import './service.ts'
    import '../customers/app.ts'; import type { CustomersService } from '../customers/service.ts'`,
  'src/orders/module.ts': "import './app.ts'",
  'src/orders/service.test.ts': "import './service.ts'; import '../../testing/kit.ts'",
  'src/compose/services.ts': "import '../orders/module.ts'; import '../platform/telemetry/open-tracing.ts'",
  'src/entrypoints/all.ts': "import '../compose/services.ts'",
  'src/functions/orders.ts': "import '../compose/services.ts'; import './lambda-handler.ts'",
  'src/functions/lambda-handler.ts': '',
  'src/commands/seed.ts': "await import('../compose/services.ts')",
  'testing/kit.ts': "import '../src/compose/services.ts'",
  'tests/orders.test.ts': "import '../testing/kit.ts'; import './cases.ts'",
  'tests/cases.ts': '',
}

/** One breach of each rule, and of some a second: what is added to a file, and the import that is found. */
const BREACHES: [rule: string, added: Sources, found: string][] = [
  [
    'platform-knows-no-domain',
    { 'src/platform/core/time.ts': "import '../../customers/tables.ts'" },
    'src/platform/core/time.ts → src/customers/tables.ts',
  ],
  [
    'no-import-of-a-program',
    { 'src/orders/service.ts': "import '../commands/seed.ts'" },
    'src/orders/service.ts → src/commands/seed.ts',
  ],
  [
    'domain-knows-no-compose',
    { 'src/orders/service.ts': "import '../compose/env.ts'", 'src/compose/env.ts': '' },
    'src/orders/service.ts → src/compose/env.ts',
  ],
  [
    'domain-imports-public-files',
    { 'src/orders/service.ts': "import type { CustomersService } from '../customers/service.ts'" },
    'src/orders/service.ts → src/customers/service.ts',
  ],
  [
    'traces-load-late',
    { 'src/platform/telemetry/open-tracing.ts': "import './otlp.ts'" },
    'src/platform/telemetry/open-tracing.ts → src/platform/telemetry/otlp.ts',
  ],
  [
    'app-mounts-apps',
    { 'src/orders/app.ts': "import '../customers/store.ts'" },
    'src/orders/app.ts → src/customers/store.ts',
  ],
  [
    'other-service-by-type-only',
    { 'src/orders/app.ts': "import '../customers/service.ts'" },
    'src/orders/app.ts → src/customers/service.ts',
  ],
  [
    'module-is-for-compose',
    { 'src/orders/app.ts': "import './module.ts'" },
    'src/orders/app.ts → src/orders/module.ts',
  ],
  [
    'only-module-imports-app',
    { 'src/orders/service.ts': "import './app.ts'" },
    'src/orders/service.ts → src/orders/app.ts',
  ],
  [
    'store-reaches-no-service',
    { 'src/customers/store.ts': "import './client.ts'" },
    'src/customers/store.ts → src/customers/service.ts',
  ],
  [
    'contract-reaches-no-code',
    { 'src/orders/contract.ts': "import './rules.ts'", 'src/orders/rules.ts': "import './store.ts'" },
    'src/orders/contract.ts → src/orders/store.ts',
  ],
  [
    'http-at-the-edge',
    { 'src/orders/service.ts': "import type { Context } from 'hono'" },
    'src/orders/service.ts → hono',
  ],
  [
    'http-at-the-edge',
    { 'src/orders/store.ts': "import { cors } from 'hono/cors'" },
    'src/orders/store.ts → hono/cors',
  ],
  ['sql-in-the-store', { 'src/orders/service.ts': "import { sql } from 'kysely'" }, 'src/orders/service.ts → kysely'],
  ['sql-in-the-store', { 'src/orders/app.ts': "import 'node:sqlite'" }, 'src/orders/app.ts → node:sqlite'],
  [
    'programs-import-compose',
    { 'src/commands/seed.ts': "import '../orders/store.ts'" },
    'src/commands/seed.ts → src/orders/store.ts',
  ],
  [
    'src-stands-alone',
    { 'src/orders/service.ts': "import '../../testing/kit.ts'" },
    'src/orders/service.ts → testing/kit.ts',
  ],
  ['only-tests-import-tests', { 'testing/kit.ts': "import '../tests/cases.ts'" }, 'testing/kit.ts → tests/cases.ts'],
  [
    'used-by-a-program',
    { 'src/orders/forgotten.ts': '', 'src/orders/service.test.ts': "import './forgotten.ts'" },
    'src/orders/forgotten.ts → src/orders/forgotten.ts',
  ],
]

/** A folder of its own with these sources, until the test has ended. */
function write(sources: Sources): string {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-architecture-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  for (const [path, text] of Object.entries(sources)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), `${text}\n`)
  }
  return folder
}

/** What breaks the rules, as `rule: file → import`. */
async function breachesOf(sources: Sources): Promise<string[]> {
  const { options, forbidden } = config
  const baseDir = write(sources)
  const { output } = await cruise(['src', 'testing', 'tests'], {
    ...options,
    ruleSet: { forbidden },
    validate: true,
    baseDir,
  })
  if (typeof output === 'string') throw new Error(output)
  return output.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} → ${to}`)
}

function added(more: Sources): Sources {
  const all = { ...SOUND }
  for (const [path, text] of Object.entries(more)) all[path] = `${text}\n${SOUND[path] ?? ''}`
  return all
}

describe('the rules of .dependency-cruiser.ts', () => {
  it('when the sources keep them, then nothing is found', async () => {
    expect(await breachesOf(SOUND)).toEqual([])
  })

  it.each(BREACHES)('when %s is broken, then it names file and import', async (rule, more, found) => {
    expect(await breachesOf(added(more))).toEqual([`${rule}: ${found}`])
  })

  it('when a rule is there, then it is proven to fail', () => {
    expect(new Set(BREACHES.map(([rule]) => rule))).toEqual(new Set(config.forbidden.map(({ name }) => name)))
  })
})

describe('the rules of biome.json', () => {
  const breaches: [rule: string, path: string, text: string][] = [
    ['style/noProcessEnv', 'src/orders/service.ts', 'export const port = process.env.PORT'],
    ['suspicious/noExplicitAny', 'src/orders/service.ts', 'export const value: any = 1'],
    ['style/noNonNullAssertion', 'src/orders/service.ts', 'export const id = (rows: string[]) => rows[0]!.length'],
    ['nursery/noUnsafeTypeAssertion', 'src/orders/service.ts', 'export const f = (row: unknown) => row as string'],
    ['nursery/noUnsafeTypeAssertion', 'src/orders/service.ts', 'export const f = (row: unknown) => <string>row'],
    ['suspicious/noImportCycles', 'src/orders/service.ts', "import { at } from './store.ts'\nexport const id = at"],
  ]

  /** The rules that are broken in a folder with these sources. */
  function lint(sources: Sources): string[] {
    const cwd = write({ ...sources, 'biome.json': readFileSync(join(ROOT, 'biome.json'), 'utf8') })
    const args = ['lint', '--vcs-enabled=false', '--reporter=github', 'src']
    const { stdout } = spawnSync(join(BINARIES, 'biome'), args, { cwd, encoding: 'utf8' })
    return Array.from(stdout.matchAll(/title=lint\/(\S+?),file=(\S+?),/g), ([, rule = '', file = '']) => {
      return `${rule}: ${relative(cwd, file)}`
    })
  }

  it.each(breaches)('when %s is broken, then it says so', (rule, path, text) => {
    const store = "import { id } from './service.ts'\nexport const at = () => id"
    expect(lint({ [path]: text, 'src/orders/store.ts': store })).toContainEqual(`${rule}: ${path}`)
  })

  it('when a cast is const, or is the one of unsafe-cast.ts, then it is allowed', () => {
    const cast = readFileSync(join(ROOT, 'src/platform/core/unsafe-cast.ts'), 'utf8')
    const tuple = "export const tuple = ['a', 'b'] as const"
    expect(lint({ 'src/platform/core/unsafe-cast.ts': cast, 'src/orders/service.ts': tuple })).toEqual([])
  })

  it('when src suppresses a rule, then it is none of these', () => {
    const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).filter((path) =>
      /\.ts$/.test(path),
    )
    const texts = files.map((path) => readFileSync(join(ROOT, 'src', path), 'utf8')).join('\n')
    const suppressed = Array.from(texts.matchAll(/biome-ignore\S* lint\/(\S+):/g), ([, rule]) => rule)
    expect(suppressed.filter((rule) => breaches.some(([held]) => held === rule))).toEqual([])
  })
})

it('when the imports between the rooms change, then docs/rooms.md is drawn again', async () => {
  expect(readFileSync(join(ROOT, 'docs/rooms.md'), 'utf8')).toBe(await roomsText())
})
