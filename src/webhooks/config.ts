import { z } from 'zod'
import { isOneOrTwo, weaknessesOf } from '../platform/core/secrets.ts'
import { flag, listed, type ParsedVariables, type RawVariables, whole } from '../platform/core/variables.ts'
import { type Network, parseNetworks } from './addresses.ts'

const DEV_KEY = 'webhooks123'
const PUBLISHED_KEYS = new Set([DEV_KEY])

const networks = z.string().transform((text, context) => {
  const { networks, fault } = parseNetworks(text)
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault })
  return networks
})

export const webhookVariables = {
  WEBHOOK_KEYS: z.string().optional(),
  WEBHOOK_ALLOW_HTTP: flag.default(false),
  WEBHOOK_ALLOWED_NETWORKS: networks.optional(),
  WEBHOOK_DISABLE_AFTER_HOURS: whole(1, 8760).default(120),
}

export interface WebhookConfig {
  /** Encrypt the secrets of endpoints: the first encrypts, all decrypt. Without keys there are no endpoints. */
  keys: readonly string[]
  /** Whether an endpoint may have an http URL. */
  allowHttp: boolean
  /** Networks that endpoints may be in although they are not public. */
  allowedNetworks: readonly Network[]
  /** How long an endpoint may have no success before an exhausted delivery disables it. */
  disableAfterHours: number
}

export function webhookConfigOf(vars: ParsedVariables<typeof webhookVariables>, production: boolean): WebhookConfig {
  return {
    keys: keysOf(vars.WEBHOOK_KEYS, production),
    allowHttp: vars.WEBHOOK_ALLOW_HTTP,
    allowedNetworks: vars.WEBHOOK_ALLOWED_NETWORKS ?? [],
    disableAfterHours: vars.WEBHOOK_DISABLE_AFTER_HOURS,
  }
}

/**
 * The faults of the keys, each as one line that never shows a key. Missing keys are no fault: a deployment from before
 * there were webhooks still starts, and has no endpoints.
 * @param strict whether the keys must be fit for production
 */
export function webhookFaults({ WEBHOOK_KEYS }: RawVariables, strict: boolean): string[] {
  if (WEBHOOK_KEYS === undefined) return []
  const keys = listed(WEBHOOK_KEYS)
  const faults = strict ? weaknessesOf('WEBHOOK_KEYS', keys, PUBLISHED_KEYS) : []
  if (isOneOrTwo(keys)) return faults
  return ['WEBHOOK_KEYS: must be one key, or two with a comma between while one is rotated', ...faults]
}

function keysOf(text: string | undefined, production: boolean): string[] {
  if (text !== undefined) return listed(text)
  return production ? [] : [DEV_KEY]
}
