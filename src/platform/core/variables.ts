import { z } from 'zod'

/** Environment variables as they are given, before they are parsed. */
export type RawVariables = Readonly<Record<string, string | undefined>>

/** The parsed values of a shape of variables. */
export type ParsedVariables<Shape extends z.ZodRawShape> = z.output<z.ZodObject<Shape>>

export const whole = (min: number, max: number) =>
  z
    .string()
    .refine(
      (text) => /^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max,
      `must be a whole number from ${min} to ${max}`,
    )
    .transform(Number)

/** Port 0 takes a free one. */
export const port = whole(0, 65_535)

export const oneOf = <const V extends string[]>(...values: V) =>
  z.enum(values, { error: `must be one of: ${values.join(', ')}` })

export const flag = oneOf('true', 'false').transform((value) => value === 'true')

/** A name of the IANA time zone database. */
export const timeZone = z.string().refine(isTimeZone, 'must be a time zone, such as UTC or Europe/Berlin')

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}

/** A currency of ISO 4217 whose amounts have two decimals: amounts are integer cents. */
export const currency = z.string().refine(hasCents, 'must be an ISO 4217 currency with two decimals, such as USD')

function hasCents(code: string): boolean {
  if (!/^[A-Z]{3}$/.test(code) || !Intl.supportedValuesOf('currency').includes(code)) return false
  const { maximumFractionDigits } = new Intl.NumberFormat('en', { style: 'currency', currency: code }).resolvedOptions()
  return maximumFractionDigits === 2
}

/** @param protocol matches the scheme without its colon */
export const urlWith = (protocol: RegExp) => z.url({ protocol, error: 'must be an http(s) URL' })

export const url = urlWith(/^https?$/)

/** The items of a text with commas between them, without the spaces around them. */
export function listed(text: string): string[] {
  return text.split(',').map((item) => item.trim())
}
