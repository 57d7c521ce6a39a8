import type { ServiceApp } from '../platform/app.ts'
import { AppError } from '../platform/errors.ts'
import { issueToken } from './contract.ts'
import type { Credentials, TokenService } from './service.ts'

export function addTokenRoute(app: ServiceApp, tokens: TokenService): void {
  app.openapi(issueToken, async (c) => {
    const isForm = c.req.header('content-type')?.toLowerCase().startsWith('application/x-www-form-urlencoded')
    const { grant_type, client_id, client_secret, scope } = isForm ? c.req.valid('form') : c.req.valid('json')
    if (grant_type !== 'client_credentials') {
      const error = 'unsupported_grant_type'
      throw new AppError(error, 'The only grant_type is client_credentials.', { error })
    }
    const credentials = credentialsOf(c.req.header('authorization'), client_id, client_secret)
    return c.json(await tokens.issueToken(credentials, scope), 200)
  })
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
