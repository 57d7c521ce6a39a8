import type { RouteConfig } from '@asteasolutions/zod-to-openapi'
import { PLATFORM_ERRORS } from '../platform/core/errors.ts'
import { defineRoute, jsonResponse, optional, problems, Timestamp } from '../platform/http/contract.ts'
import { int32 } from '../platform/http/integers.ts'
import { z } from '../platform/http/schema.ts'
import { IDENTITY_ERRORS } from './errors.ts'

/**
 * A token request (RFC 6749, section 4.4), as a form or as JSON. Unknown parameters, such as `audience` and `resource`,
 * are ignored (section 3.2). Forms have no null, so the document declares no nullable field.
 */
export const TokenRequest = z
  .object({
    // Any text is valid here: other grant types get their own code, `unsupported_grant_type`.
    grant_type: z.string().openapi({ enum: ['client_credentials'], example: 'client_credentials' }),
    client_id: optional(z.string()).openapi({ type: 'string', example: 'demo' }),
    client_secret: optional(z.string()).openapi({ type: 'string', example: 'demo-secret' }),
    scope: optional(z.string()).openapi({
      type: 'string',
      description: 'The scopes that the token gets, of those of the client. Absent: all of them.',
      example: 'orders:write',
    }),
  })
  .openapi('TokenRequest')

export const Token = z
  .object({
    access_token: z.string().meta({ example: 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkZW1vIn0.c2ln' }),
    token_type: z.literal('Bearer'),
    expires_in: int32(1, 86_400).meta({ description: 'Seconds', example: 3600 }),
    scope: z.string().meta({ example: 'orders:read orders:write' }),
  })
  .openapi('Token')

export const issueToken = {
  method: 'post',
  path: '/auth/token',
  operationId: 'issueToken',
  tags: ['Auth'],
  summary: 'Get a token (OAuth 2 client credentials)',
  description:
    'The client is named by HTTP Basic, or by `client_id` and `client_secret`. JSON with the same fields is taken too. ' +
    'At most 4 KiB; unknown parameters are ignored. After too many failed attempts within a minute, a client at an ' +
    'address must wait; after many more, of any clients, the whole address must wait.',
  security: [{ basic: [] }, {}],
  request: {
    body: {
      required: true,
      // JSON is not declared: clients generated from two body forms send the fields of one as the other.
      content: { 'application/x-www-form-urlencoded': { schema: TokenRequest } },
    },
  },
  responses: {
    200: jsonResponse(Token, 'The token'),
    ...problems(
      PLATFORM_ERRORS.malformed_json,
      PLATFORM_ERRORS.validation_failed,
      IDENTITY_ERRORS.unsupported_grant_type,
      IDENTITY_ERRORS.invalid_scope,
      IDENTITY_ERRORS.invalid_client,
      PLATFORM_ERRORS.payload_too_large,
      PLATFORM_ERRORS.unsupported_media_type,
      PLATFORM_ERRORS.rate_limited,
      PLATFORM_ERRORS.unavailable,
    ),
  },
} satisfies RouteConfig

export const ClientStatus = z
  .object({
    disabled: z.boolean(),
    tokens_from: Timestamp.nullable().meta({
      description: 'Tokens issued before this time are refused.',
      example: '2026-01-05T09:00:00.000Z',
    }),
  })
  .openapi('ClientStanding')

export const getInternalClient = defineRoute({
  internal: true,
  method: 'get',
  path: '/internal/clients/{id}',
  operationId: 'getInternalClient',
  tags: ['Internal'],
  summary: 'Whether the tokens of a client are valid, for services without a database',
  request: { params: z.object({ id: z.string().openapi({ param: { name: 'id', in: 'path' }, example: 'demo' }) }) },
  responses: {
    200: jsonResponse(ClientStatus, 'The state of the client'),
    ...problems(
      PLATFORM_ERRORS.unauthorized,
      PLATFORM_ERRORS.invalid_token,
      PLATFORM_ERRORS.not_found,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})
