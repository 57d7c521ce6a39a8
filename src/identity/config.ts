import { z } from 'zod'
import { isOneOrTwo, missingSecret, weaknessesOf } from '../platform/core/secrets.ts'
import { listed, type ParsedVariables, type RawVariables, url, whole } from '../platform/core/variables.ts'
import type { ClaimNames } from './authenticator.ts'

const DEV_JWT_SECRET = 'secret123'
const DEV_SERVICE_TOKEN = 'internal123'
/** Secrets that documents or this repository print: good enough to try the system, refused in production. */
const PUBLISHED_SECRETS = new Set([DEV_JWT_SECRET, DEV_SERVICE_TOKEN, 'demo-secret'])
/** The characters of a bearer token (RFC 6750, section 2.1). */
const SENDABLE = /^[\w.~+/=-]*$/

export const identityVariables = {
  JWT_SECRET: z.string().optional(),
  JWT_ISSUER: z.string().default('b2b-orders'),
  JWT_AUDIENCE: z.string().default('b2b-orders'),
  JWT_TTL_SECONDS: whole(60, 86_400).default(3600),
  JWKS_URL: url.optional(),
  JWT_SCOPES_CLAIM: z.string().optional(),
  JWT_SCOPE_PREFIX: z.string().default(''),
  JWT_CUSTOMER_CLAIM: z.string().default('customer_id'),
  JWT_AUDIENCE_CLAIM: z.string().default('aud'),
  SERVICE_TOKEN: z.string().optional(),
  LOGIN_ATTEMPTS_PER_MINUTE: whole(1, 1_000_000).default(20),
}

export interface JwtConfig {
  /** Signs tokens. */
  secret: string
  /** Tokens signed with it are accepted too, while one secret replaces the other. */
  otherSecret: string | undefined
  issuer: string
  audience: string
  ttlSeconds: number
  /** The keys of an identity provider, which then issues the tokens. */
  jwksUrl: string | undefined
  /** With `jwksUrl`: the audiences that its tokens may name. */
  audiences: string[]
  /** With `jwksUrl`: the claims that its tokens use. */
  claims: ClaimNames
}

export interface IdentityConfig {
  jwt: JwtConfig
  /** The first is sent, all are accepted. */
  serviceTokens: string[]
  /** Failed attempts of one client id from one address, in a minute. */
  loginAttemptsPerMinute: number
}

export function identityConfigOf(vars: ParsedVariables<typeof identityVariables>): IdentityConfig {
  const { jwtSecrets, serviceTokens } = secretsOf(vars)
  const [secret = '', otherSecret] = jwtSecrets
  return {
    jwt: {
      secret,
      otherSecret,
      issuer: vars.JWT_ISSUER,
      audience: vars.JWT_AUDIENCE,
      ttlSeconds: vars.JWT_TTL_SECONDS,
      jwksUrl: vars.JWKS_URL,
      audiences: listed(vars.JWT_AUDIENCE).filter((audience) => audience !== ''),
      claims: {
        scopes: vars.JWT_SCOPES_CLAIM,
        scopePrefix: vars.JWT_SCOPE_PREFIX,
        customer: vars.JWT_CUSTOMER_CLAIM,
        audience: vars.JWT_AUDIENCE_CLAIM,
      },
    },
    serviceTokens,
    loginAttemptsPerMinute: vars.LOGIN_ATTEMPTS_PER_MINUTE,
  }
}

/**
 * The faults of the secrets, each as one line that never shows a secret.
 * @param strict whether the secrets must be fit for production
 */
export function identityFaults(vars: RawVariables, strict: boolean): string[] {
  const { jwtSecrets, serviceTokens } = secretsOf(vars)
  const faults: string[] = []
  if (!isOneOrTwo(serviceTokens)) {
    faults.push('SERVICE_TOKEN: must be one token, or two with a comma between while one is rotated')
  }
  if (!isOneOrTwo(jwtSecrets)) {
    faults.push('JWT_SECRET: must be one secret, or two with a comma between while one is rotated')
  }
  if (!serviceTokens.every((token) => SENDABLE.test(token))) {
    faults.push('SERVICE_TOKEN: must have only letters, digits and -._~+/= (the characters of a bearer token)')
  }
  return strict ? [...faults, ...productionFaults(vars)] : faults
}

interface Secrets {
  JWT_SECRET?: string | undefined
  SERVICE_TOKEN?: string | undefined
}

function secretsOf({ JWT_SECRET = DEV_JWT_SECRET, SERVICE_TOKEN = DEV_SERVICE_TOKEN }: Secrets) {
  return { jwtSecrets: listed(JWT_SECRET), serviceTokens: listed(SERVICE_TOKEN) }
}

function productionFaults(vars: RawVariables): string[] {
  const { JWT_SECRET, SERVICE_TOKEN, JWKS_URL } = vars
  const { jwtSecrets, serviceTokens } = secretsOf(vars)
  const faults: string[] = []
  // With an identity provider no tokens are signed here.
  if (JWKS_URL === undefined) faults.push(...weaknesses('JWT_SECRET', JWT_SECRET))
  faults.push(...weaknesses('SERVICE_TOKEN', SERVICE_TOKEN))
  if (jwtSecrets.some((secret) => serviceTokens.includes(secret))) {
    faults.push('SERVICE_TOKEN: must differ from JWT_SECRET; a service that receives it could sign tokens')
  }
  if (/^http:/i.test(JWKS_URL ?? '')) faults.push('JWKS_URL: must be https in production')
  return faults
}

function weaknesses(name: string, secrets: string | undefined): string[] {
  return secrets === undefined ? [missingSecret(name)] : weaknessesOf(name, listed(secrets), PUBLISHED_SECRETS)
}
