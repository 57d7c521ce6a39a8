import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { swaggerUI } from '@hono/swagger-ui'
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { AppEnv } from './app.ts'
import { SCOPES } from './auth.ts'
import { AppError } from './errors.ts'
import { trusted } from './trusted.ts'

const API_VERSION = '1.0.0'

export interface DocsConfig {
  title: string
  description: string
  /** Whether this service hands out tokens at `/auth/token`. */
  tokens: boolean
  /** Whether it has routes for the other services. */
  internal: boolean
}

/** `/openapi.json` and `/docs`, the latter with Swagger UI's own files, so that it works with no internet. */
export function addDocs(app: OpenAPIHono<AppEnv>, config: DocsConfig): void {
  registerSecuritySchemes(app, config)
  let document: string | undefined
  app.get('/openapi.json', (c) => {
    document ??= JSON.stringify(describe(app, config))
    return c.body(document, 200, { 'content-type': 'application/json' })
  })
  app.get('/docs/swagger-ui-dist/:file', async (c) => {
    const file = c.req.param('file')
    const type = ASSETS[file]
    if (type === undefined) throw new AppError('route_not_found', 'There is nothing at this path.')
    const bytes = await readFile(fileURLToPath(import.meta.resolve(`swagger-ui-dist/${file}`)))
    return c.body(new Uint8Array(bytes), 200, { 'content-type': type, 'cache-control': 'public, max-age=86400' })
  })
  const page = swaggerUI({
    title: `${config.title} – API`,
    url: 'openapi.json',
    baseUrl: 'docs',
    persistAuthorization: true,
    displayRequestDuration: true,
    displayOperationId: false,
    validatorUrl: '',
  })
  app.get('/docs', async (c, next) => {
    c.header('content-security-policy', DOCS_POLICY)
    return page(trusted<Context>(c), next)
  })
}

const ASSETS: Record<string, string> = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
}

const DOCS_POLICY =
  "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"

/** The document, from the routes themselves. Its server is wherever the document was read, so it holds behind a stage. */
function describe(app: OpenAPIHono<AppEnv>, { title, description }: DocsConfig) {
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title,
      description,
      version: API_VERSION,
      license: { name: 'MIT', url: 'https://spdx.org/licenses/MIT.html' },
    },
    servers: [{ url: '.' }],
  })
}

function registerSecuritySchemes(app: OpenAPIHono<AppEnv>, { tokens, internal }: DocsConfig): void {
  const registry = app.openAPIRegistry
  const scopes = Object.fromEntries(SCOPES.map((scope) => [scope, scope.replace(/(.*):(.*)/, '$2 $1')]))
  registry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'A token from `POST /auth/token` (or `npm run token`), or of the identity provider that is set up.',
  })
  registry.registerComponent('securitySchemes', 'oauth2', {
    type: 'oauth2',
    description: 'Client credentials. The demo client is `demo` with the secret `demo-secret`.',
    flows: { clientCredentials: { tokenUrl: tokens ? 'auth/token' : 'https://customers.example/auth/token', scopes } },
  })
  if (!internal) return
  registry.registerComponent('securitySchemes', 'serviceToken', {
    type: 'http',
    scheme: 'bearer',
    description: '`SERVICE_TOKEN`: for the other services, never for callers.',
  })
}
