import type { Context } from 'hono'
import type { z } from 'zod'
import { sendJson } from '../platform/answers.ts'
import type { AppEnv, ServiceApp } from '../platform/app.ts'
import { AppError } from '../platform/errors.ts'
import { type LoginLimits, limitLogins } from '../platform/limits.ts'
import { validationError } from '../platform/problems.ts'
import { getInternalClient, issueToken, TokenRequest } from './contract.ts'
import type { Credentials, TokenService } from './service.ts'

export function addTokenRoute(app: ServiceApp, tokens: TokenService, limits: LoginLimits): void {
  // `app.openapi` would hold every body to the form's schema and to the JSON's: here it is one or the other.
  app.openAPIRegistry.registerPath(issueToken)
  app.post(issueToken.getRoutingPath(), limitLogins(limits), async (c) => {
    const { grant_type, client_id, client_secret, scope } = await readTokenRequest(c)
    if (grant_type !== 'client_credentials') {
      const error = 'unsupported_grant_type'
      throw new AppError(error, 'The only grant_type is client_credentials.', { error })
    }
    const credentials = credentialsOf(c.req.header('authorization'), client_id, client_secret)
    return sendJson(c, await tokens.issueToken(credentials, scope), 200)
  })
}

/** For the services that have no database to look into. */
export function addClientRoute(app: ServiceApp, tokens: TokenService): void {
  app.openapi(getInternalClient, async (c) => {
    const { id } = c.req.valid('param')
    const client = await tokens.findStanding(id)
    if (client === undefined) throw new AppError('not_found', 'There is no such client.')
    const { disabled, tokensFrom } = client
    const tokens_from = tokensFrom === null ? null : new Date(tokensFrom).toISOString()
    return sendJson(c, { disabled, tokens_from }, 200)
  })
}

const MEDIA_TYPE = /^application\/(json|x-www-form-urlencoded) *(;|$)/i

/** @throws AppError `unsupported_media_type`, `malformed_json`, `validation_failed` */
async function readTokenRequest(c: Context<AppEnv>): Promise<z.output<typeof TokenRequest>> {
  const [, type] = MEDIA_TYPE.exec(c.req.header('content-type') ?? '') ?? []
  if (type === undefined) throw new AppError('unsupported_media_type', 'Send a form or JSON.')
  const isForm = type.toLowerCase() !== 'json'
  const body: unknown = isForm ? await c.req.parseBody({ all: true }) : await c.req.json().catch(refuseMalformedJson)
  const request = TokenRequest.safeParse(body)
  if (request.success) return request.data
  const { code, message, extra } = validationError('json', request.error.issues)
  throw new AppError(code, message, { ...extra, error: 'invalid_request' })
}

function refuseMalformedJson(error: unknown): never {
  if (error instanceof AppError) throw error
  throw new AppError('malformed_json', 'The body could not be parsed as JSON.')
}

/** From the Basic header, or else from the body's fields (RFC 6749, section 2.3.1). */
function credentialsOf(
  authorization: string | undefined,
  id: string | undefined,
  secret: string | undefined,
): Credentials {
  const [, encoded] = /^Basic +([\w+/]+=*)$/i.exec(authorization ?? '') ?? []
  const decoded = encoded === undefined ? undefined : decodeBasic(encoded)
  const credentials = decoded ?? (authorization === undefined && { clientId: id, clientSecret: secret })
  if (credentials && credentials.clientId !== undefined && credentials.clientSecret !== undefined) {
    return { clientId: credentials.clientId, clientSecret: credentials.clientSecret }
  }
  throw new AppError('invalid_client', 'Send client_id and client_secret, in a Basic header or in the body.', {
    error: 'invalid_client',
  })
}

function decodeBasic(encoded: string): Credentials | undefined {
  try {
    const [id, ...secret] = new TextDecoder().decode(Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0))).split(':')
    if (id === undefined || secret.length === 0) return undefined
    return { clientId: decodeURIComponent(id), clientSecret: decodeURIComponent(secret.join(':')) }
  } catch {
    return undefined
  }
}
