import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { swaggerUI } from '@hono/swagger-ui'
import type { OpenAPIHono } from '@hono/zod-openapi'
import { Hono } from 'hono'
import packageJson from '../../package.json' with { type: 'json' }
import { send } from './answers.ts'
import type { AppEnv } from './app.ts'
import { SCOPES } from './auth.ts'
import { HEALTH_TAG } from './health.ts'
import { namesTag } from './preconditions.ts'

export interface DocsConfig {
  title: string
  description: string
  /** Whether this service hands out tokens at `/auth/token`. */
  tokens: boolean
  /** Whether it has routes for the other services. */
  internal: boolean
}

export interface Whereabouts {
  production: boolean
  /** Where callers reach the service, without a slash at its end; undefined, wherever the document was read. */
  publicUrl?: string | undefined
}

/** `/openapi.json` and `/docs`, the latter with Swagger UI's own files, so that it works with no internet. */
export function addDocs(app: OpenAPIHono<AppEnv>, config: DocsConfig, where: Whereabouts): void {
  registerSecuritySchemes(app, config, where)
  let document: { text: string; etag: string } | undefined
  app.get('/openapi.json', (c) => {
    document ??= withTag(writeDocument(app, config, where))
    const { text, etag } = document
    const headers = { etag, 'cache-control': 'no-cache' }
    if (namesTag(c.req.header('if-none-match') ?? '', etag)) return send(c, null, 304, headers)
    return send(c, text, 200, { ...headers, 'content-type': 'application/json' })
  })
  addDocsFiles(app)
  let page: Promise<Page> | undefined
  app.get('/docs', async (c) => {
    page ??= renderPage(`${config.title} – API`)
    const { html, policy } = await page
    return send(c, html, 200, { 'content-type': 'text/html; charset=UTF-8', 'content-security-policy': policy })
  })
}

/** An `ETag` by what is in it: it is the same on every instance of one version. */
function withTag(text: string) {
  return { text, etag: `"${createHash('sha256').update(text).digest('base64url')}"` }
}

function writeDocument(app: OpenAPIHono<AppEnv>, config: DocsConfig, where: Whereabouts): string {
  return JSON.stringify(describe(app, config, where), (key, value: unknown) => {
    const told = where.production ? withoutDemo(key, value) : value
    return config.tokens ? told : withoutOAuth(key, told)
  })
}

/** Swagger UI's own files, from its package. Where a bundle does not carry them they are not found. */
export function addDocsFiles(app: Hono<AppEnv>): void {
  app.get('/docs/swagger-ui-dist/:file', async (c) => {
    const file = c.req.param('file')
    const type = FILES.get(file)
    const bytes = type === undefined ? undefined : await readPackageFile(file)
    if (type === undefined || bytes === undefined) return c.notFound()
    return send(c, new Uint8Array(bytes), 200, { 'content-type': type, 'cache-control': 'public, max-age=86400' })
  })
}

async function readPackageFile(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(fileURLToPath(import.meta.resolve(`swagger-ui-dist/${file}`)))
  } catch {
    return undefined
  }
}

const ICON = 'docs/swagger-ui-dist/favicon-32x32.png'

interface Page {
  html: string
  /** Lets the page run its own scripts, talk to its own origin, and nothing else. */
  policy: string
}

/** Swagger UI's page. Its addresses are relative, so that it holds behind a stage. */
async function renderPage(title: string): Promise<Page> {
  const page = swaggerUI({
    title,
    url: 'openapi.json',
    baseUrl: 'docs',
    // The browser's storage is open to every script of this origin, and outlives the tab: no secret is put there.
    persistAuthorization: false,
    displayRequestDuration: true,
    displayOperationId: false,
    validatorUrl: '',
    // Else a wrong secret, answered with the Basic challenge of RFC 6749, opens the browser's own login window.
    requestInterceptor: "(request) => Object.assign(request, { credentials: 'omit' })",
  })
  const made = await (await new Hono().get('/', page).request('/')).text()
  const html = made.replace('</head>', `<link rel="icon" type="image/png" href="${ICON}" /></head>`)
  const scripts = [...html.matchAll(/<script>(.*?)<\/script>/gs)].map(([, script]) => `'${contentHash(script ?? '')}'`)
  const policy = [
    "default-src 'none'",
    `script-src 'self' ${scripts.join(' ')}`,
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ]
  return { html, policy: policy.join('; ') }
}

/** As Content Security Policy names a script by what is in it. */
function contentHash(script: string): string {
  return `sha256-${createHash('sha256').update(script).digest('base64')}`
}

const FILES = new Map([
  ['favicon-32x32.png', 'image/png'],
  ['swagger-ui.css', 'text/css; charset=utf-8'],
  ['swagger-ui-bundle.js', 'text/javascript; charset=utf-8'],
])

/** OpenAPI has no word for it. */
const QUERIES = 'Where a token is needed, a query name that is not listed, or that comes twice, is refused.'
/** What holds for every body, and no schema can say. */
const OF_BODIES = 'A body comes as it is, without a `Content-Encoding`, and no object in it has a member twice.'

/**
 * The document, from the routes themselves. Without a public address its server is wherever the document was read, so it
 * holds behind a stage.
 */
function describe(app: OpenAPIHono<AppEnv>, { title, description }: DocsConfig, { publicUrl }: Whereabouts) {
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title,
      description: `${description} ${QUERIES} ${OF_BODIES}`,
      version: packageJson.version,
      license: { name: 'MIT', url: 'https://spdx.org/licenses/MIT.html' },
    },
    servers: [{ url: publicUrl ?? '.', description: 'this service' }],
    tags: tagsOf(app).map((name) => ({ name })),
  })
}

/** As the routes come, but what every service has at the end. */
function tagsOf(app: OpenAPIHono<AppEnv>): string[] {
  const tags = new Set(app.openAPIRegistry.definitions.flatMap((it) => (it.type === 'route' && it.route.tags) || []))
  tags.delete(HEALTH_TAG)
  return [...tags, HEALTH_TAG]
}

/** A JSON replacer: where no tokens are handed out there is no OAuth flow to name, and callers are left with `bearer`. */
function withoutOAuth(key: string, value: unknown): unknown {
  if (key !== 'security' || !Array.isArray(value)) return value
  return value.filter((requirement: object) => !('oauth2' in requirement))
}

/** The client of the demo data and its secret are examples for trying the system. Production refuses them. */
const DEMO = /\bdemo\b/

/** A JSON replacer. */
function withoutDemo(key: string, value: unknown): unknown {
  return key === 'example' && typeof value === 'string' && DEMO.test(value) ? undefined : value
}

function registerSecuritySchemes(
  app: OpenAPIHono<AppEnv>,
  { tokens, internal }: DocsConfig,
  { production, publicUrl }: Whereabouts,
): void {
  const registry = app.openAPIRegistry
  const scopes = Object.fromEntries(SCOPES.map((scope) => [scope, scope.replace(/(.*):(.*)/, '$2 $1')]))
  if (tokens) {
    registry.registerComponent('securitySchemes', 'oauth2', {
      type: 'oauth2',
      description: `Client credentials.${production ? '' : ' The demo client is `demo` with the secret `demo-secret`.'}`,
      flows: { clientCredentials: { tokenUrl: publicUrl ? `${publicUrl}/auth/token` : 'auth/token', scopes } },
    })
    registry.registerComponent('securitySchemes', 'basic', {
      type: 'http',
      scheme: 'basic',
      description: 'A client and its secret, form-encoded (RFC 6749, section 2.3.1): for `POST /auth/token` alone.',
    })
  }
  registry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description:
      'A token from `POST /auth/token` of Customers or Orders (or from `npm run token`), or of the identity provider ' +
      'where one is set up. Each route names the scope that must be in it.',
  })
  if (!internal) return
  registry.registerComponent('securitySchemes', 'serviceToken', {
    type: 'http',
    scheme: 'bearer',
    description: '`SERVICE_TOKEN`: for the other services, never for callers.',
  })
}
