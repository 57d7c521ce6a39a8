import type { IConfiguration, IForbiddenRuleType } from 'dependency-cruiser'

// The rules of the architecture: which file may import which. `npm run check` holds them, and tests/code/architecture.test.ts
// proves that each can fail. Biome holds two more: no circles of imports (noImportCycles), and where the environment is
// read (noProcessEnv).

const PROGRAMS = 'entrypoints|functions|commands'
/** All other folders of src are domains. */
const NO_DOMAIN = `platform|compose|${PROGRAMS}`
const DOMAIN = `^src/(?!(?:${NO_DOMAIN})/)([^/]+)/`
const OTHER_DOMAIN = `^src/(?!(?:$1|${NO_DOMAIN})/)[^/]+/`
/** What a domain shows to other domains. */
const PUBLIC_FILES =
  'client|contract|stock|customer-rows|quantity-rule|errors|events|event-response|scopes|tables|types'
const TESTS = ['^tests/', '\\.test\\.ts$']

const HONO = '(?:^|node_modules/)(?:hono|@hono/[^/]+|hono-rate-limiter)(?:/|$)'
const JWT = 'hono/(?:dist/middleware/)?jwt'
const OPEN_TELEMETRY = '(?:^|node_modules/)@opentelemetry/'
const LOADED_LATE = 'src/platform/telemetry/(?:otlp|recorded-spans|span-queue)\\.ts$'
const SQL = '(?:^|node_modules/)(?:kysely|mysql2)(?:/|$)|^node:sqlite$'

const file = (names: string) => `/(?:${names})\\.ts$`

const rules: ({ name: string; comment: string } & IForbiddenRuleType)[] = [
  {
    name: 'platform-knows-no-domain',
    comment: 'The platform serves every domain, so it knows none: it reaches nothing in src but itself.',
    from: { path: '^src/platform/', pathNot: TESTS },
    to: { path: '^src/(?!platform/)', reachable: true },
  },
  {
    name: 'no-import-of-a-program',
    comment: 'Nothing imports a program, and programs of different kinds do not import each other.',
    from: { path: '^src/([^/]+)/', pathNot: TESTS },
    to: { path: `^src/(?!$1/)(?:${PROGRAMS})/` },
  },
  {
    name: 'domain-knows-no-compose',
    comment: 'Compose puts the domains together. A domain gets what it needs as an argument.',
    from: { path: DOMAIN, pathNot: TESTS },
    to: { path: '^src/compose/' },
  },
  {
    name: 'domain-imports-public-files',
    comment: `Of another domain, only these files may be imported: ${PUBLIC_FILES.replaceAll('|', '.ts, ')}.ts.`,
    from: { path: DOMAIN, pathNot: [...TESTS, file('app')] },
    to: { path: OTHER_DOMAIN, pathNot: file(PUBLIC_FILES) },
  },
  {
    name: 'app-mounts-apps',
    comment: 'An app may also mount the app of another domain, and nothing else.',
    from: { path: `${DOMAIN}app\\.ts$` },
    to: { path: OTHER_DOMAIN, pathNot: file(`app|service|${PUBLIC_FILES}`) },
  },
  {
    name: 'other-service-by-type-only',
    comment: 'An app is given the service of the app that it mounts: it imports the type, never the code.',
    from: { path: `${DOMAIN}app\\.ts$` },
    to: { path: `${OTHER_DOMAIN}service\\.ts$`, dependencyTypesNot: ['type-only'] },
  },
  {
    name: 'module-is-for-compose',
    comment: 'module.ts lists what a domain offers. Only compose reads it.',
    from: { path: '^src/', pathNot: [...TESTS, '^src/compose/'] },
    to: { path: `${DOMAIN}module\\.ts$` },
  },
  {
    name: 'only-module-imports-app',
    comment: 'Imports in a domain go one way: app, service, store. Only module.ts is above the app.',
    from: { path: DOMAIN, pathNot: [...TESTS, file('app|module')] },
    to: { path: '^src/$1/app\\.ts$' },
  },
  {
    name: 'store-reaches-no-service',
    comment: 'A store holds SQL and no rules: it reaches no service and no app.',
    from: { path: `${DOMAIN}store\\.ts$` },
    to: { path: `${DOMAIN}(?:app|service)\\.ts$`, reachable: true },
  },
  {
    name: 'contract-reaches-no-code',
    comment: 'A contract describes an API, not how it works: it reaches no app, no service and no store.',
    from: { path: `${DOMAIN}contract\\.ts$` },
    to: { path: `${DOMAIN}(?:app|service|store)\\.ts$`, reachable: true },
  },
  {
    name: 'http-at-the-edge',
    comment:
      'Verbs and stores know no HTTP: in a domain, only app.ts, contract.ts and client.ts import Hono. Its tokens (hono/jwt) are no HTTP.',
    from: { path: DOMAIN, pathNot: [...TESTS, file('app|contract|client')] },
    to: { path: HONO, pathNot: JWT },
  },
  {
    name: 'sql-in-the-store',
    comment: 'In a domain, only store.ts, tables.ts and what others lock (stock.ts, customer-rows.ts) know SQL.',
    from: { path: DOMAIN, pathNot: [...TESTS, file('store|delivery-store|stock|customer-rows|tables')] },
    to: { path: SQL },
  },
  {
    name: 'programs-import-compose',
    comment: 'Programs get what they run from compose. The files in pathNot are still imported directly.',
    from: { path: `^src/(?:${PROGRAMS})/`, pathNot: TESTS },
    to: {
      path: DOMAIN,
      pathNot:
        '^src/(?:audit/service|customers/store|identity/service|orders/(?:archive|backfill-events|support)|webhooks/signature)\\.ts$',
    },
  },
  {
    name: 'traces-load-late',
    comment:
      'OpenTelemetry, and what uses it, is imported at run time where traces are on. All other code imports types.',
    from: { path: '^src/', pathNot: [...TESTS, `^${LOADED_LATE}`] },
    to: { path: [OPEN_TELEMETRY, `^${LOADED_LATE}`], dynamic: false, dependencyTypesNot: ['type-only'] },
  },
  {
    name: 'src-stands-alone',
    comment: 'Code that runs in production imports no code of tests, benches or builds.',
    from: { path: '^src/', pathNot: TESTS },
    to: { path: '^(?:testing|tests|bench|faults|scripts)/' },
  },
  {
    name: 'only-tests-import-tests',
    comment: 'Only tests import files of tests/. Code that tests share with others is in testing/.',
    from: { pathNot: TESTS },
    to: { path: TESTS },
  },
  {
    name: 'used-by-a-program',
    comment: 'Code that no program reaches is dead.',
    from: { path: `^src/(?:${PROGRAMS})/`, pathNot: TESTS },
    to: { path: '^src/', pathNot: [...TESTS, `^src/(?:${PROGRAMS})/`], reachable: false },
  },
]

export default {
  forbidden: rules.map((rule) => ({ severity: 'error' as const, ...rule })),
  options: {
    // The parser of dependency-cruiser needs TypeScript 6 or older; swc reads our syntax without it.
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    // What these files import is generated when the clients are tested.
    exclude: { path: '^tests/clients/[^/]+/flow\\.ts$' },
  },
} satisfies IConfiguration
