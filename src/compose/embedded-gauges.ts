import { audit } from '../audit/module.ts'
import { events } from '../events/module.ts'
import { orders } from '../orders/module.ts'
import { createGaugeReader, type DatabaseGauge } from '../platform/database/gauges.ts'
import type { Database } from '../platform/database/types.ts'
import type { EmbeddedMetric, Unit } from '../platform/telemetry/embedded.ts'
import type { Telemetry } from '../platform/telemetry/telemetry.ts'
import { products } from '../products/module.ts'
import { webhooks } from '../webhooks/module.ts'

/** What the line of each scheduled function tells. */
const GAUGES: Readonly<Record<'sweep' | 'events', readonly DatabaseGauge[]>> = {
  sweep: [...orders.gauges, ...products.gauges, ...audit.gauges],
  events: [...events.gauges, ...webhooks.gauges],
}

/**
 * Reads gauges for the line of a scheduled function.
 * @returns its fields: none where no metrics are embedded, or while the database can't answer
 */
export function createEmbeddedGauges(db: Database, { embed }: Telemetry, name: keyof typeof GAUGES) {
  if (embed === undefined) return async () => ({})
  const gauges = GAUGES[name]
  const read = createGaugeReader(db, gauges)
  return async () => {
    const found = await read()
    const metrics = gauges.flatMap((gauge) => (found.get(gauge) ?? []).flatMap((sample) => metricOf(gauge, sample)))
    return metrics.length === 0 ? {} : embed(metrics)
  }
}

/** CloudWatch can't compare a time with now, so times are left out. */
const UNITS: Readonly<Record<DatabaseGauge['kind'], Unit | undefined>> = {
  number: 'Count',
  age: 'Seconds',
  time: undefined,
}

/** A label becomes the end of the name: `b2b_webhook_endpoints_disabled`. */
function metricOf(
  { series, kind }: DatabaseGauge,
  { labels, value }: { labels: readonly string[]; value: number },
): EmbeddedMetric[] {
  const unit = UNITS[kind]
  return unit === undefined ? [] : [{ name: [series.name, ...labels].join('_'), unit, value }]
}
