import { isIP } from 'node:net'
import { z } from 'zod'
import { isOneOrTwo, weaknessesOf } from '../platform/core/secrets.ts'
import { flag, listed, type ParsedVariables, type RawVariables, whole } from '../platform/core/variables.ts'

const DEV_KEY = 'webhooks123'
const PUBLISHED_KEYS = new Set([DEV_KEY])
const PREFIX_LENGTH = /^\d{1,3}$/

const networks = z
  .string()
  .refine((text) => listed(text).every(isNetwork), 'must be networks such as 10.20.0.0/16 or fd00::/8')
  .transform(listed)

export const webhookVariables = {
  WEBHOOK_KEYS: z.string().optional(),
  WEBHOOK_ALLOW_HTTP: flag.default(false),
  WEBHOOK_ALLOWED_NETWORKS: networks.optional(),
  WEBHOOK_DISABLE_AFTER_HOURS: whole(1, 8760).default(120),
  // Deliveries are kept for 30 days, and refer to their events.
  EVENTS_RETENTION_DAYS: whole(30, 36_500).optional(),
}

export interface WebhookConfig {
  /** Encrypt the secrets of endpoints: the first encrypts, all decrypt. Without keys there are no endpoints. */
  keys: readonly string[]
  /** Whether an endpoint may have an http URL. */
  allowHttp: boolean
  /** Networks that endpoints may be in although they are not public: `10.20.0.0/16`. */
  allowedNetworks: readonly string[]
  /** How long an endpoint may have no success before an exhausted delivery disables it. */
  disableAfterHours: number
  /** Undefined: events are kept for good, they are the history. */
  eventsRetentionDays: number | undefined
}

export function webhookConfigOf(vars: ParsedVariables<typeof webhookVariables>, production: boolean): WebhookConfig {
  return {
    keys: keysOf(vars.WEBHOOK_KEYS, production),
    allowHttp: vars.WEBHOOK_ALLOW_HTTP,
    allowedNetworks: vars.WEBHOOK_ALLOWED_NETWORKS ?? [],
    disableAfterHours: vars.WEBHOOK_DISABLE_AFTER_HOURS,
    eventsRetentionDays: vars.EVENTS_RETENTION_DAYS,
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

/** Whether a text is a network in the notation of CIDR. */
function isNetwork(text: string): boolean {
  const [address = '', prefix = '', ...rest] = text.split('/')
  const bits = { 0: 0, 4: 32, 6: 128 }[isIP(address)] ?? 0
  return rest.length === 0 && bits > 0 && !address.includes('%') && PREFIX_LENGTH.test(prefix) && Number(prefix) <= bits
}
