import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { swaggerUI } from '@hono/swagger-ui'
import type { OpenAPIHono } from '@hono/zod-openapi'
import { type Context, Hono } from 'hono'
import { html } from 'hono/html'
import packageJson from '../../../package.json' with { type: 'json' }
import { contentHash } from '../core/crypto.ts'
import type { AppEnv } from './app.ts'
import { namesTag } from './etag.ts'
import { HEALTH_TAG } from './health.ts'
import { addHome, calledPath, type ServiceLink, type Signposts } from './home.ts'
import { send } from './response.ts'

export interface DocsConfig {
  title: string
  description: string
  /** Whether this service issues tokens at `/auth/token`. */
  tokens: boolean
  /** Whether this service has routes for other services. */
  internal: boolean
}

export interface Whereabouts {
  production: boolean
  /** The service's URL without a trailing slash; undefined: the URL from which the document was read. */
  publicUrl?: string | undefined
  signposts: Signposts
  /** The scopes that tokens may have. */
  scopes: readonly string[]
}

/** Adds `/`, `/openapi.json` and `/docs`. Swagger UI's files come from this service, so no internet is needed. */
export function addDocs(app: OpenAPIHono<AppEnv>, config: DocsConfig, where: Whereabouts): void {
  addHome(app, { ...config, version: packageJson.version }, where.signposts)
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
    const { text, policy } = await page
    const linked = text.replace('<body>', `<body>${renderLinks(c, where.signposts)}`)
    return send(c, linked, 200, { 'content-type': 'text/html; charset=UTF-8', 'content-security-policy': policy })
  })
  app.get('/docs/', (c) => send(c, null, 308, { location: '../docs' }))
}

/** The `ETag` is a hash of the text, so that all instances of one version have the same. */
function withTag(text: string) {
  return { text, etag: `"${createHash('sha256').update(text).digest('base64url')}"` }
}

function writeDocument(app: OpenAPIHono<AppEnv>, config: DocsConfig, where: Whereabouts): string {
  return JSON.stringify(describe(app, config, where), (key, value: unknown) => {
    const told = where.production ? withoutDemo(key, value) : value
    return config.tokens ? told : withoutOAuth(key, told)
  })
}

/** Serves Swagger UI's files from its package. A bundle without the package sends a 404. */
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

/** A plugin of Swagger UI: folds all refusals into one line, then into a line each, so that a route fits a screen. */
const FOLD_REFUSALS = `({ React }) => {
  const { createElement: make, useState } = React
  const fold = (isOpen, setOpen, text) => make('button',
    { type: 'button', className: 'fold', 'aria-expanded': isOpen, onClick: () => setOpen(!isOpen) }, text)
  const cell = (name, content) => make('td', { className: name }, content)
  const isRefusal = (code) => /^[45]/.test(code)
  return { wrapComponents: {
    responses: (Responses) => (props) => {
      const [isOpen, setOpen] = useState(false)
      const codes = props.responses.keySeq().filter(isRefusal).join(', ')
      return make('div', { className: isOpen ? '' : 'folded' }, make(Responses, props),
        make('p', { className: 'refusals' }, fold(isOpen, setOpen, 'Refusals: ' + codes)))
    },
    response: (Response) => (props) => {
      const [isOpen, setOpen] = useState(false)
      if (isOpen || !isRefusal(props.code)) return make(Response, props)
      return make('tr', { className: 'response refusal', 'data-code': props.code },
        cell('response-col_status', props.code),
        cell('response-col_description', fold(isOpen, setOpen, props.response.get('description'))))
    },
  } }
}`

const STYLE = `<style>
nav { padding: 10px 20px; font: 14px sans-serif; background: #f0f0f0 }
.folded tr.refusal { display: none }
.swagger-ui table tbody tr.refusal td { padding: 2px 0 }
.swagger-ui .refusals { margin: 0; padding: 0 20px 10px; font: 14px sans-serif }
.swagger-ui .fold { border: 0; padding: 0; font: inherit; color: inherit; background: none; text-align: left; cursor: pointer }
.swagger-ui .fold::before { content: '▸ ' }
.swagger-ui .fold[aria-expanded=true]::before { content: '▾ ' }
.swagger-ui .response-control-media-type, .swagger-ui .parameters input:disabled { display: none }
.swagger-ui .opblock-section .highlight-code > .microlight,
.swagger-ui .responses-table:not(.live-responses-table) .highlight-code > .microlight { max-height: 160px }
.swagger-ui .responses-inner, .swagger-ui .opblock-description-wrapper { padding: 5px 20px }
.swagger-ui .parameter__name { white-space: nowrap }
.swagger-ui .parameters td p, .swagger-ui .responses-table td p { margin: 0 }
.swagger-ui .opblock .table-container { padding: 5px 20px }
</style>`

interface Page {
  text: string
  /** The Content-Security-Policy: the page may only run its own scripts and call its own origin. */
  policy: string
}

/** Swagger UI's page. Its links are relative, so that they work behind a stage. */
async function renderPage(title: string): Promise<Page> {
  const page = swaggerUI({
    title,
    url: 'openapi.json',
    baseUrl: 'docs',
    // Every script of this origin can read the browser's storage, and it outlives the tab: keep no secret there.
    persistAuthorization: false,
    displayRequestDuration: true,
    displayOperationId: false,
    defaultModelsExpandDepth: 0,
    plugins: [FOLD_REFUSALS],
    validatorUrl: '',
    // With credentials, the Basic challenge after a wrong secret (RFC 6749) would open the browser's login window.
    requestInterceptor: "(request) => Object.assign(request, { credentials: 'omit' })",
  })
  const made = await (await new Hono().get('/', page).request('/')).text()
  const text = made.replace('</head>', `<link rel="icon" type="image/png" href="${ICON}" />${STYLE}</head>`)
  const scripts = [...text.matchAll(/<script>(.*?)<\/script>/gs)].map(([, script]) => `'${contentHash(script ?? '')}'`)
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
  return { text, policy: policy.join('; ') }
}

/** Links to this service's root and to the documentation of the other services. */
function renderLinks(c: Context<AppEnv>, { links }: Signposts): string {
  const others = links(c).map(({ title, docs }: ServiceLink) => html` · <a href="${docs}">${title}</a>`)
  return String(html`<nav><a href="${rootFrom(calledPath(c))}">This service</a>${others}</nav>`)
}

/** The link names the root's own segment: a gateway may know the root only without its trailing slash. */
function rootFrom(docsPath: string): string {
  const [parent = ''] = docsPath.split('/').slice(-2, -1)
  return parent === '' ? './' : `../${parent}`
}

const FILES = new Map([
  ['favicon-32x32.png', 'image/png'],
  ['swagger-ui.css', 'text/css; charset=utf-8'],
  ['swagger-ui-bundle.js', 'text/javascript; charset=utf-8'],
])

/** OpenAPI has no field for this rule. */
const QUERIES = 'Routes that need a token refuse unknown and repeated query parameters.'
/** Rules for every body that no schema can express. */
const OF_BODIES = 'Send a body without a `Content-Encoding`. An object in it must not have a field twice.'

/**
 * Makes the document from the routes. Without a public URL its server is relative to the document's own URL, so that it
 * is right behind a stage.
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

/** Tags in the order of the routes. Health comes last, because every service has it. */
function tagsOf(app: OpenAPIHono<AppEnv>): string[] {
  const tags = new Set(app.openAPIRegistry.definitions.flatMap((it) => (it.type === 'route' && it.route.tags) || []))
  tags.delete(HEALTH_TAG)
  return [...tags, HEALTH_TAG]
}

/** A JSON replacer. A service that issues no tokens has no OAuth flow, so only `bearer` remains. */
function withoutOAuth(key: string, value: unknown): unknown {
  if (key !== 'security' || !Array.isArray(value)) return value
  return value.filter((requirement: object) => !('oauth2' in requirement))
}

/** Examples name the demo client and its secret, which production refuses. */
const DEMO = /\bdemo\b/

/** A JSON replacer: removes examples that name the demo client. */
function withoutDemo(key: string, value: unknown): unknown {
  return key === 'example' && typeof value === 'string' && DEMO.test(value) ? undefined : value
}

function registerSecuritySchemes(
  app: OpenAPIHono<AppEnv>,
  { tokens, internal }: DocsConfig,
  { production, publicUrl, scopes }: Whereabouts,
): void {
  const registry = app.openAPIRegistry
  const described = Object.fromEntries(scopes.map((scope) => [scope, scope.replace(/(.*):(.*)/, '$2 $1')]))
  if (tokens) {
    registry.registerComponent('securitySchemes', 'oauth2', {
      type: 'oauth2',
      description: `Client credentials.${production ? '' : ' The demo client is `demo` with the secret `demo-secret`.'}`,
      flows: {
        clientCredentials: { tokenUrl: publicUrl ? `${publicUrl}/auth/token` : 'auth/token', scopes: described },
      },
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
