import { CUSTOMER_EVENTS } from '../customers/events.ts'
import { ORDER_EVENTS } from '../orders/events.ts'
import { PRODUCT_EVENTS } from '../products/events.ts'
import { WEBHOOK_EVENTS } from '../webhooks/events.ts'

/** All types of events, in the order in which the documents name them. */
export const EVENT_TYPES: readonly string[] = [
  ...ORDER_EVENTS,
  ...PRODUCT_EVENTS,
  ...CUSTOMER_EVENTS,
  ...WEBHOOK_EVENTS,
]

/** The types of the resources that events are about. */
export const RESOURCE_TYPES: readonly string[] = [
  ...new Set(EVENT_TYPES.flatMap((type) => (type.includes('.') ? [type.slice(0, type.indexOf('.'))] : []))),
]

/** What may be asked for: a type, the types of a resource, such as `order.*`, or all. */
export const EVENT_PATTERNS: readonly [string, ...string[]] = [
  '*',
  ...RESOURCE_TYPES.map((type) => `${type}.*`),
  ...EVENT_TYPES,
]

/** The types that some patterns name; undefined for all. */
export function typesOf(patterns: readonly string[]): string[] | undefined {
  if (patterns.includes('*')) return undefined
  const isNamed = (type: string) =>
    patterns.some((pattern) => pattern === type || (pattern.endsWith('*') && type.startsWith(pattern.slice(0, -1))))
  return EVENT_TYPES.filter(isNamed)
}
