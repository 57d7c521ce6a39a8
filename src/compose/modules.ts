import { audit } from '../audit/module.ts'
import { customers } from '../customers/module.ts'
import { identity } from '../identity/module.ts'
import { orchestrator } from '../orchestrator/module.ts'
import { orders } from '../orders/module.ts'
import { type ErrorDefinition, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import type { Tables } from '../platform/database/tables.ts'
import { products } from '../products/module.ts'

/** What a domain says of itself. Every function's bundle reads all of these at its start, so they stay light. */
interface Module {
  name: string
  scopes: readonly string[]
  /** Its refusals, by their codes. */
  errors: Readonly<Record<string, ErrorDefinition>>
  /** Each before those that it refers to. */
  tables: readonly (keyof Tables)[]
  /** The environment variables that it reads, and the configuration made of them. */
  variables?: object
  configOf?: unknown
}

/** The domains, each after those whose tables its own refer to. The documents list the scopes in this order. */
export const MODULES = [customers, products, orders, orchestrator, identity, audit] as const satisfies readonly Module[]

export type Scope = (typeof MODULES)[number]['scopes'][number]

export const SCOPES: readonly Scope[] = MODULES.flatMap<Scope>(({ scopes }) => scopes)

/** Every refusal that a caller can meet. */
export const ERRORS: readonly ErrorDefinition[] = [{ errors: PLATFORM_ERRORS }, ...MODULES].flatMap(({ errors }) =>
  Object.values<ErrorDefinition>(errors),
)
