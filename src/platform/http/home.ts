import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { accepts } from 'hono/accepts'
import { html } from 'hono/html'
import { contentHash } from '../core/crypto.ts'
import { unsafeCast } from '../core/unsafe-cast.ts'
import type { AppEnv } from './app.ts'
import { send } from './response.ts'

/** A link to another service. */
export interface ServiceLink {
  title: string
  /** The service's `/` for this request's caller: absolute, or relative to this service's root. */
  home: string
  /** The service's `/docs`. */
  docs: string
}

/** What a service's root links to. */
export interface Signposts {
  /** The other services whose URLs are known. */
  links(c: Context): readonly ServiceLink[]
  /** A command that tries the system on its demo data; undefined where there is none. */
  tryIt(c: Context): string | undefined
}

interface Home {
  title: string
  description: string
  version: string
}

const JSON_TYPE = 'application/json'
const HTML_TYPE = 'text/html'

/**
 * Adds `/`: links as a page for browsers, as JSON for other callers. Links are relative to the called URL, so that they
 * work behind a stage or a prefix. `/` links to the OpenAPI document, so it is not part of it.
 */
export function addHome(app: OpenAPIHono<AppEnv>, home: Home, signposts: Signposts): void {
  app.get('/', (c) => {
    const type = accepts(c, { header: 'Accept', supports: [JSON_TYPE, HTML_TYPE], default: JSON_TYPE })
    return type === HTML_TYPE ? sendPage(c, home, signposts) : sendIndex(c, home, signposts)
  })
}

function sendIndex(c: Context<AppEnv>, { title, version }: Home, signposts: Signposts): Response {
  const at = fromRoot(c)
  const others = signposts.links(c).map(({ title, home }) => [title.toLowerCase(), at(home)])
  const index = {
    service: title.toLowerCase(),
    version,
    docs: at('docs'),
    openapi: at('openapi.json'),
    health: at('health'),
    ready: at('ready'),
    services: Object.fromEntries(others),
  }
  return send(c, JSON.stringify(index), 200, { 'content-type': JSON_TYPE, vary: 'accept' })
}

function sendPage(c: Context<AppEnv>, home: Home, signposts: Signposts): Response {
  return send(c, renderPage(c, home, signposts), 200, {
    'content-type': `${HTML_TYPE}; charset=UTF-8`,
    'content-security-policy': POLICY,
    vary: 'accept',
  })
}

/** Makes root-relative paths relative to the called URL, which may lack its trailing slash, as `/dev` does. */
function fromRoot(c: Context): (path: string) => string {
  const path = calledPath(c)
  const last = path.slice(path.lastIndexOf('/') + 1)
  return (target) => (last === '' || URL.canParse(target) ? target : `${last}/${target}`)
}

/** The called path in a gateway's event. The app's own URL lacks the stage and prefix. */
interface GatewayEvent {
  requestContext?: { path?: string; http?: { path?: string } }
}

/** The path that the caller used, with the stage and prefix that gateways remove. */
export function calledPath(c: Context): string {
  const { requestContext } = unsafeCast<GatewayEvent>(c.env ?? {})
  return requestContext?.path ?? requestContext?.http?.path ?? new URL(c.req.url).pathname
}

const STYLE = `
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fafafa }
main { max-width: 46rem; margin: 0 auto; padding: 2rem 1rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: 1rem; color: #fff; background: #333; border-radius: 4px }
a { color: #0b5cad }
`
const POLICY = [
  "default-src 'none'",
  `style-src '${contentHash(STYLE)}'`,
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

function renderPage(c: Context<AppEnv>, { title, description, version }: Home, signposts: Signposts): string {
  const at = fromRoot(c)
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<title>${title} – B2B Orders</title>
<link rel="icon" type="image/png" href="${at('docs/swagger-ui-dist/favicon-32x32.png')}" />
<style>${STYLE}</style>
</head>
<body><main>
<h1>${title}</h1>
<p>${description}</p>
<ul>
<li><a href="${at('docs')}">API documentation</a>: every route, with examples to run</li>
<li><a href="${at('openapi.json')}">openapi.json</a>: the same as data, version ${version}</li>
<li><a href="${at('health')}">health</a>, <a href="${at('ready')}">ready</a>: for load balancers</li>
</ul>
${renderLinks(c, signposts)}
${renderTryIt(c, signposts)}
</main></body>
</html>
`
  return String(page)
}

function renderLinks(c: Context<AppEnv>, signposts: Signposts) {
  const at = fromRoot(c)
  const links = signposts.links(c)
  if (links.length === 0) return ''
  const items = links.map(
    ({ title, home, docs }) =>
      html`<li><a href="${at(home)}">${title}</a>: <a href="${at(docs)}">documentation</a></li>`,
  )
  return html`<h2>The other services</h2><ul>${items}</ul>`
}

function renderTryIt(c: Context<AppEnv>, { tryIt }: Signposts) {
  const command = tryIt(c)
  if (command === undefined) return ''
  return html`<h2>Try it</h2>
<p>Create and confirm an order of the demo data. Run it twice: it is one order.</p>
<pre>${command}</pre>`
}
