import { z } from 'zod'
import { type ParsedVariables, url } from '../core/variables.ts'

/** `api-key=one,tenant=two`, with values that may be percent-encoded, as the OTLP specification has them. */
const headers = z.string().transform((text, context) => {
  const pairs = text.split(',').map((pair) => /^\s*([\w!#$%&'*+.^`|~-]+)\s*=(.*)$/.exec(pair))
  const read = pairs.flatMap((match) => {
    const [name, value] = [match?.[1], decoded(match?.[2] ?? '')]
    return name === undefined || value === undefined ? [] : [[name, value] as const]
  })
  if (read.length === pairs.length) return Object.fromEntries(read)
  context.addIssue('must be name=value pairs with commas between, such as api-key=one,tenant=two')
  return z.NEVER
})

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text.trim())
  } catch {
    return undefined
  }
}

const fraction = z
  .string()
  .refine((text) => /^(0|1|0?\.\d{1,9}|[01]\.0+)$/.test(text), 'must be a number from 0 to 1, such as 0.05')
  .transform(Number)

// The names are those of OpenTelemetry's specification.
export const tracesVariables = {
  OTEL_EXPORTER_OTLP_ENDPOINT: url.optional(),
  OTEL_EXPORTER_OTLP_HEADERS: headers.optional(),
  OTEL_TRACES_SAMPLER_ARG: fraction.default(0.05),
}

/** Where traces go, and which. */
export interface TracesConfig {
  /** The collector's URL, without `/v1/traces`. */
  endpoint: string
  /** May hold a secret of the collector. */
  headers: Record<string, string>
  /** The share of traces that are recorded, of those that no caller has decided. */
  ratio: number
}

/** @returns undefined where no collector is configured: nothing is recorded */
export function tracesConfigOf(vars: ParsedVariables<typeof tracesVariables>): TracesConfig | undefined {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_HEADERS: headers = {} } = vars
  return endpoint === undefined ? undefined : { endpoint, headers, ratio: vars.OTEL_TRACES_SAMPLER_ARG }
}
