import { audit } from '../audit/module.ts'
import { customers } from '../customers/module.ts'
import { events } from '../events/module.ts'
import { identity } from '../identity/module.ts'
import { orchestrator } from '../orchestrator/module.ts'
import { orders } from '../orders/module.ts'
import { type ErrorDefinition, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import type { DatabaseGauge } from '../platform/database/gauges.ts'
import type { Tables } from '../platform/database/tables.ts'
import { products } from '../products/module.ts'
import { webhooks } from '../webhooks/module.ts'

/** A domain's description. Every function's bundle loads all modules at its start, so modules must stay light. */
interface Module {
  name: string
  scopes: readonly string[]
  /** The domain's refusals, by code. */
  errors: Readonly<Record<string, ErrorDefinition>>
  /** The domain's tables, each before the tables that it refers to. */
  tables: readonly (keyof Tables)[]
  /** Tables that tell of the data, and are none: a database without data may have them. */
  notes?: readonly (keyof Tables)[]
  /** What those who watch the domain read from the database. */
  gauges?: readonly DatabaseGauge[]
}

/** The domains, each after those whose tables its own tables refer to. The documents list the scopes in this order. */
export const MODULES = [
  customers,
  products,
  orders,
  events,
  webhooks,
  orchestrator,
  identity,
  audit,
] as const satisfies readonly Module[]

export type Scope = (typeof MODULES)[number]['scopes'][number]

export const SCOPES: readonly Scope[] = MODULES.flatMap<Scope>(({ scopes }) => scopes)

/** Every refusal that a caller can receive. */
export const ERRORS: readonly ErrorDefinition[] = [{ errors: PLATFORM_ERRORS }, ...MODULES].flatMap(({ errors }) =>
  Object.values<ErrorDefinition>(errors),
)

/** What is read from the database at scrapes. */
export const DATABASE_GAUGES: readonly DatabaseGauge[] = MODULES.flatMap<DatabaseGauge>((module) =>
  'gauges' in module ? module.gauges : [],
)
