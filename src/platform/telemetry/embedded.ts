/** The units of CloudWatch that are used here. */
export type Unit = 'Count' | 'Milliseconds' | 'Seconds'

export interface EmbeddedMetric {
  name: string
  unit: Unit
  value: number
}

/**
 * The fields of a log line that CloudWatch takes metrics from: the embedded metric format. The line that a function writes
 * anyway carries them, so they cost no call and no line more.
 */
export type Embed = (metrics: readonly EmbeddedMetric[]) => Readonly<Record<string, unknown>>

const NAMESPACE = 'b2b-orders'

/** @param functionName the only dimension: each further one would make, and be paid for as, more metrics */
export function createEmbed(functionName: string, nowMs = Date.now): Embed {
  return (metrics) => ({
    ...Object.fromEntries(metrics.map(({ name, value }) => [name, value])),
    function_name: functionName,
    _aws: {
      Timestamp: nowMs(),
      CloudWatchMetrics: [
        {
          Namespace: NAMESPACE,
          Dimensions: [['function_name']],
          Metrics: metrics.map(({ name, unit }) => ({ Name: name, Unit: unit })),
        },
      ],
    },
  })
}
