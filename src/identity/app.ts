import type { Context, MiddlewareHandler } from 'hono'
import { z } from 'zod'
import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import type { AppEnv, ServiceApp } from '../platform/http/app.ts'
import { validationError } from '../platform/http/problem-details.ts'
import { type LoginLimits, limitLogins } from '../platform/http/rate-limit.ts'
import { sendJson } from '../platform/http/response.ts'
import { addRoute } from '../platform/http/routes.ts'
import { getInternalClient, issueToken, TokenRequest } from './contract.ts'
import { IDENTITY_ERRORS } from './errors.ts'
import type { Credentials, TokenService } from './service.ts'

const MAX_REQUEST_BYTES = 4 * 1024

export function addTokenRoute(app: ServiceApp, tokens: TokenService, limits: LoginLimits): void {
  const { limitAddress, limitClient } = limitLogins(limits)
  // `app.openapi` would check every body against both the form's and the JSON's schema: a body has only one form.
  app.openAPIRegistry.registerPath(issueToken)
  app.post(issueToken.path, noteClient, limitAddress, limitClient, async (c) => {
    if (await isTooLarge(c)) throw TOO_LARGE
    const { grant_type, client_id, client_secret, scope } = await readTokenRequest(c)
    if (grant_type !== 'client_credentials') {
      const { unsupported_grant_type } = IDENTITY_ERRORS
      const extra = { error: unsupported_grant_type.code }
      throw new AppError(unsupported_grant_type, 'grant_type must be client_credentials.', extra)
    }
    const credentials = credentialsOf(c.req.header('authorization'), client_id, client_secret)
    return sendJson(c, await tokens.issueToken(credentials, scope ?? undefined), 200)
  })
}

const TOO_LARGE_DETAIL = `The body is larger than ${MAX_REQUEST_BYTES / 1024} KiB.`
const TOO_LARGE = new AppError(PLATFORM_ERRORS.payload_too_large, TOO_LARGE_DETAIL, { error: 'invalid_request' })

/** Sets the claimed client id even when the rest of the request is invalid: limits and the log need the id. */
const noteClient: MiddlewareHandler<AppEnv> = async (c, next) => {
  const basic = basicCredentials(c.req.header('authorization'))
  c.set('claimedClient', basic?.clientId ?? (await clientIdInBody(c)) ?? '')
  await next()
}

const NamesClient = z.object({ client_id: z.string() })

async function clientIdInBody(c: Context<AppEnv>): Promise<string | undefined> {
  if (await isTooLarge(c)) return undefined
  const body = await readBody(c).catch(() => undefined)
  return NamesClient.safeParse(body).data?.client_id
}

/** False for an unreadable body, which is refused where it is read. */
function isTooLarge(c: Context<AppEnv>): Promise<boolean> {
  return c.req.arrayBuffer().then(
    ({ byteLength }) => byteLength > MAX_REQUEST_BYTES,
    () => false,
  )
}

/** Adds the route by which services without a database look up a client. */
export function addClientRoute(app: ServiceApp, tokens: TokenService): void {
  addRoute(app, getInternalClient, async (c) => {
    const { id } = c.req.valid('param')
    const client = await tokens.findStatus(id)
    if (client === undefined) throw new AppError(PLATFORM_ERRORS.not_found, 'There is no client with this id.')
    const { disabled, tokensNotBefore } = client
    const tokens_from = tokensNotBefore === null ? null : new Date(tokensNotBefore).toISOString()
    return sendJson(c, { disabled, tokens_from }, 200)
  })
}

const MEDIA_TYPE = /^application\/(json|x-www-form-urlencoded) *(;|$)/i

/**
 * The body as an object. A repeated form parameter becomes a list, which the schemas of known parameters refuse.
 * @throws AppError `unsupported_media_type`, `malformed_json`
 */
async function readBody(c: Context<AppEnv>): Promise<unknown> {
  const [, type] = MEDIA_TYPE.exec(c.req.header('content-type') ?? '') ?? []
  if (type === undefined)
    throw new AppError(PLATFORM_ERRORS.unsupported_media_type, 'Send the body as a form or as JSON.')
  const isForm = type.toLowerCase() !== 'json'
  return isForm ? formIn(await c.req.text()) : c.req.json().catch(refuseMalformedJson)
}

/** Parses a form without `formData`, whose first use loads all of Node's `fetch`. */
function formIn(text: string): Record<string, unknown> {
  const form = new Map<string, string | string[]>()
  for (const [name, value] of new URLSearchParams(text)) {
    const known = form.get(name)
    if (Array.isArray(known)) known.push(value)
    else form.set(name, known === undefined ? value : [known, value])
  }
  return Object.fromEntries(form)
}

/** @throws AppError `unsupported_media_type`, `malformed_json`, `validation_failed` */
async function readTokenRequest(c: Context<AppEnv>): Promise<z.output<typeof TokenRequest>> {
  const request = TokenRequest.safeParse(await readBody(c))
  if (request.success) return request.data
  const { definition, message, extra } = validationError('json', request.error.issues)
  throw new AppError(definition, message, { ...extra, error: 'invalid_request' })
}

function refuseMalformedJson(error: unknown): never {
  if (error instanceof AppError) throw error
  throw new AppError(PLATFORM_ERRORS.malformed_json, 'The body could not be parsed as JSON.')
}

/**
 * Credentials from the Basic header, or else from the body's fields (RFC 6749, section 2.3.1).
 * @throws AppError `invalid_client`
 */
function credentialsOf(
  authorization: string | undefined,
  id: string | null | undefined,
  secret: string | null | undefined,
): Credentials {
  const basic = basicCredentials(authorization)
  if (basic) return basic
  if (authorization === undefined && typeof id === 'string' && typeof secret === 'string') {
    return { clientId: id, clientSecret: secret }
  }
  const detail = 'Send client_id and client_secret, in a Basic header or in the body.'
  throw new AppError(IDENTITY_ERRORS.invalid_client, detail, { error: 'invalid_client' })
}

function basicCredentials(authorization: string | undefined): Credentials | undefined {
  const [, encoded] = /^Basic +([\w+/]+=*)$/i.exec(authorization ?? '') ?? []
  if (encoded === undefined) return undefined
  try {
    const [id, ...secret] = new TextDecoder().decode(Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0))).split(':')
    if (id === undefined || secret.length === 0) return undefined
    return { clientId: decodeURIComponent(id), clientSecret: decodeURIComponent(secret.join(':')) }
  } catch {
    return undefined
  }
}
