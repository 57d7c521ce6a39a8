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

/** The types of a resource together, such as `order.*`. */
const WILDCARDS = [...new Set(EVENT_TYPES.map((type) => `${type.slice(0, type.indexOf('.'))}.*`))]

/** What may be asked for: a type, the types of a resource, or all. */
export const EVENT_PATTERNS: readonly [string, ...string[]] = ['*', ...WILDCARDS, ...EVENT_TYPES]

/** The types that some patterns name. */
export function typesOf(patterns: readonly string[]): string[] {
  const isNamed = (type: string) =>
    patterns.some((pattern) => pattern === type || (pattern.endsWith('*') && type.startsWith(pattern.slice(0, -1))))
  return EVENT_TYPES.filter(isNamed)
}
