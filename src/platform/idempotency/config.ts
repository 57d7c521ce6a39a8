import { type ParsedVariables, whole } from '../core/variables.ts'

export const idempotencyVariables = {
  IDEMPOTENCY_TTL_HOURS: whole(1, 8760).default(24),
}

export interface IdempotencyConfig {
  /** How long a key is remembered. */
  idempotencyTtlMinutes: number
}

export function idempotencyConfigOf(vars: ParsedVariables<typeof idempotencyVariables>): IdempotencyConfig {
  return { idempotencyTtlMinutes: vars.IDEMPOTENCY_TTL_HOURS * 60 }
}
