import type { Context } from 'hono'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { calledPath, type ServiceLink, type Signposts } from '../platform/http/home.ts'
import { LAMBDA } from '../platform/rpc/lambda-fetch.ts'
import type { Env } from './env.ts'

/** The prefix of each service below the root of the REST API in serverless.yml. */
const SERVICES = {
  orchestrator: { title: 'Orchestrator', prefix: '' },
  customers: { title: 'Customers', prefix: 'customers-api/' },
  orders: { title: 'Orders', prefix: 'orders-api/' },
}

export type ServiceName = keyof typeof SERVICES

const NAMES: readonly ServiceName[] = ['orchestrator', 'customers', 'orders']

/**
 * Links from one service to the others. An address is shown only where it is known to work: behind the REST API of
 * serverless.yml, and outside production.
 */
export function signpostsOf(own: ServiceName, env: Env): Signposts {
  const links = (c: Context): ServiceLink[] =>
    NAMES.filter((name) => name !== own).flatMap((name) => {
      const root = rootOf(name, own, env, c)
      return root === undefined ? [] : [linkTo(SERVICES[name].title, root)]
    })
  const tryIt = (c: Context) => {
    if (env.production) return undefined
    const root = own === 'orchestrator' ? directAddress(env.ports.orchestrator, c) : rootOf('orchestrator', own, env, c)
    return root === undefined ? undefined : demoCurl(root.replace(/\/$/, '')).join('\n')
  }
  return { links, tryIt }
}

/** The lines of the request that the README shows. */
export function demoCurl(orchestrator: string): string[] {
  const body =
    '{"customer_id":1,"items":[{"product_id":1,"qty":2}],"idempotency_key":"abc-123","correlation_id":"req-789"}'
  return [
    `curl -X POST ${orchestrator}/dev/orchestrator/create-and-confirm-order \\`,
    `  -H 'content-type: application/json' -d '${body}'`,
  ]
}

/**
 * The home link has no slash at its end: a gateway may know a service's root only without it. A stage's root keeps its
 * slash.
 */
function linkTo(title: string, root: string): ServiceLink {
  return { title, home: root.replace(/(?<!\.\.)\/$/, ''), docs: `${root}docs` }
}

/** The root of a service, with a slash at the end. */
function rootOf(name: ServiceName, own: ServiceName, env: Env, c: Context): string | undefined {
  if (isBehindRestApi(own, env, c)) return `${'../'.repeat(own === 'orchestrator' ? 0 : 1)}${SERVICES[name].prefix}`
  if (env.production) return undefined
  return configuredAddress(name, env, c) ?? siblingAddress(name, own, env, c)
}

/**
 * The prefix in the path shows the REST API. The orchestrator has no prefix, but there its upstreams are Lambda
 * functions.
 */
function isBehindRestApi(own: ServiceName, env: Env, c: Context): boolean {
  const { requestContext } = unsafeCast<{ requestContext?: { path?: string } }>(c.env ?? {})
  if (requestContext?.path === undefined) return false
  if (own === 'orchestrator') return env.ordersBase?.startsWith(LAMBDA) === true
  return `${calledPath(c)}/`.includes(`/${SERVICES[own].prefix}`)
}

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/

/** The configured address, if a browser can reach it. Host names within a container network have no dot. */
function configuredAddress(name: ServiceName, env: Env, c: Context): string | undefined {
  const base = { orchestrator: undefined, customers: env.customersBase, orders: env.ordersBase }[name]
  if (base === undefined || base.startsWith(LAMBDA)) return undefined
  const { hostname } = new URL(base)
  const isReachable = LOOPBACK.test(hostname) ? LOOPBACK.test(new URL(c.req.url).hostname) : /[.:]/.test(hostname)
  return isReachable ? base.replace(/\/*$/, '/') : undefined
}

/**
 * The other service's port on the host that was called. Undefined behind a proxy: the request must have used this
 * service's own port.
 */
function siblingAddress(name: ServiceName, own: ServiceName, env: Env, c: Context): string | undefined {
  const address = directAddress(env.ports[own], c)
  if (address === undefined || env.ports[name] === 0) return undefined
  return Object.assign(new URL(address), { port: String(env.ports[name]) }).href
}

/** The address that was called, if its port is the one at which the service listens. */
function directAddress(port: number, c: Context): string | undefined {
  const { incoming } = unsafeCast<{ incoming?: { socket: { localPort?: number } } }>(c.env ?? {})
  const url = new URL('/', c.req.url)
  return incoming?.socket.localPort === port && Number(url.port) === port ? url.href : undefined
}
