import { readFileSync } from 'node:fs'
import { expect } from 'vitest'
import type { ApiClient, ApiResponse } from './api-client.ts'
import type { LogLine } from './programs.ts'

const TEXT = readFileSync('docs/incidents.md', 'utf8')
const PATIENCE_MS = 8_000

/** Observes one place, in the words of the runbook. @param cell what the runbook expects */
export type Look = (cell: string) => Promise<string>
/** The log lines of a service so far. */
export type Log = () => LogLine[]

type Row = [place: string, during: string, after: string]

/** The rows of each table in a section. */
function tablesOf(title: string): Row[][] {
  const section = sectionOf(title)
  const tables = section.match(/(?:^\|.*\n)+/gm) ?? []
  return tables.map((table) => table.trim().split('\n').slice(2).map(rowOf))
}

function sectionOf(title: string): string {
  const [, section] = TEXT.split(`\n## ${title}\n`)
  if (section === undefined) throw new Error(`docs/incidents.md has no section ${title}`)
  return section.split('\n## ')[0] ?? ''
}

function rowOf(line: string): Row {
  const [place = '', during = '', after = ''] = line
    .slice(1, -1)
    .split('|')
    .map((cell) => cell.trim())
  return [place, during, after]
}

/** A SQL statement of a section. */
export function statementOf(title: string, about: string): string {
  const statements = [...sectionOf(title).matchAll(/```sql\n(.*?)```/gs)].flatMap(([, sql = '']) => sql.split(';'))
  const found = statements.find((statement) => statement.includes(about))
  if (found === undefined) throw new Error(`${title} has no statement with ${about}`)
  return found.trim()
}

/**
 * Plays a section: expects what its table says about each place, during the incident and after it.
 * @param looks how to observe each place of the table, except logs
 * @param logs the log of each service that the table names; `log` where it names none
 * @param table which table of the section
 */
export function runbook(title: string, looks: Record<string, Look>, logs: Record<string, Log> = {}, table = 0) {
  const rows = tablesOf(title)[table] ?? []
  const places = rows.filter(([place]) => !place.startsWith('log')).map(([place]) => place)
  expect(Object.keys(looks).sort(), title).toEqual(places.sort())
  const logOf = (place: string): LogLine[] => {
    const log = logs[place]
    if (log === undefined) throw new Error(`${title}: no such log: ${place}`)
    return log()
  }
  let marks = countLines(logs)

  async function see(what: (row: Row) => string): Promise<void> {
    for (const row of rows) {
      const [place] = row
      await seePlace(place, what(row))
    }
    for (const row of rows) {
      const [place] = row
      if (!place.startsWith('log')) continue
      const linesSince = () => logOf(place).slice(marks[place])
      await (what(row) === 'no more' ? seeNone(place, linesSince, row[1]) : seeLine(place, linesSince, what(row)))
    }
  }

  async function seePlace(place: string, cell: string): Promise<void> {
    const look = looks[place]
    if (look === undefined) return
    await expect.poll(() => look(cell), { timeout: PATIENCE_MS, message: `${title}: ${place}` }).toBe(cell)
  }

  async function seeLine(place: string, lines: Log, cell: string): Promise<void> {
    const message = `${title}: ${place}: ${cell}`
    await expect.poll(() => lines().some(fits(cell)), { timeout: PATIENCE_MS, message }).toBe(true)
  }

  /** Expects new log lines, none of them of the incident. */
  async function seeNone(place: string, lines: Log, cell: string): Promise<void> {
    const message = `${title}: ${place}`
    await expect.poll(() => lines().length, { timeout: PATIENCE_MS, message }).toBeGreaterThan(0)
    expect(lines().filter(fits(cell)), message).toEqual([])
  }

  return {
    during: () => see(([, during]) => during),
    /** Waits until each place is as the table says, and then checks the logs. */
    async after(): Promise<void> {
      for (const [place, , after] of rows) await seePlace(place, after)
      marks = countLines(logs)
      await see(([, , after]) => after)
    },
  }
}

function countLines(logs: Record<string, Log>): Record<string, number> {
  return Object.fromEntries(Object.entries(logs).map(([place, log]) => [place, log().length]))
}

/** Whether a line matches a cell such as: `request_failed`: `code` is `unavailable`, `err` has `ECONNREFUSED` */
function fits(cell: string): (line: LogLine) => boolean {
  const [, event, rest = ''] = /^`([^`]+)`: (.+)$/.exec(cell) ?? []
  const fields = rest.split(', ').map((field) => {
    const [, name = '', how = '', value = ''] = /^`(\w+)` (is|has|is above) `([^`]+)`$/.exec(field) ?? []
    if (how === '') throw new Error(`docs/incidents.md: not understood: ${cell}`)
    return { name, how, value }
  })
  return (line) =>
    line.event === event &&
    fields.every(({ name, how, value }) => {
      if (how === 'is above') return Number(line[name]) > Number(value)
      return how === 'is' ? String(line[name]) === value : (JSON.stringify(line[name]) ?? '').includes(value)
    })
}

/** A response in the words of the runbook: its status, and the code and `Retry-After` of a refusal. */
export async function seen(call: Promise<ApiResponse>): Promise<string> {
  const response = await call.catch(() => undefined)
  if (response === undefined) return 'no connection'
  const { status, body, headers } = response
  if (status < 400) return String(status)
  const retryAfter = headers.get('retry-after')
  return `${status} \`${body.code}\`${retryAfter === null ? '' : `, \`Retry-After: ${retryAfter}\``}`
}

/** Observes `/ready`: its status, and the `checks` that the runbook names, such as `checks.database`. */
export function readiness(api: ApiClient): Look {
  return async (cell) => {
    const { status, body } = await api.get('/ready')
    const named = [...cell.matchAll(/`checks\.(\w+)` is/g)].map(([, name = '']) => name)
    return [status, ...named.map((name) => `\`checks.${name}\` is \`${body.checks?.[name]}\``)].join(', ')
  }
}
