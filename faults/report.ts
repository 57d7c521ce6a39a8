import type { Violation, ViolationKind } from './checker.ts'
import type { History } from './client.ts'
import { failsIn, type OperationKind, okIn } from './history.ts'
import type { FaultCounts } from './nemesis.ts'

/** The results of a run, as `--json` prints them. */
export interface Found {
  seed: number
  seconds: number
  database: string
  requests: number
  retries: number
  /** Counts by status, or by the reason why there was no response. */
  outcomes: Record<string, number>
  operations: Record<OperationKind, { acknowledged: number; refused: number }>
  acknowledged: number
  refused: number
  /** Operations that were refused because another order has their PO number. */
  refusedForPo: number
  faults: FaultCounts
  /** How often each process was started, and how often its start failed. */
  starts: Record<string, { starts: number; failed: number }>
  /** From the final kill of everything until every service was ready, and until every caller had its response. */
  readyAfterSeconds: number | undefined
  answeredAfterSeconds: number
  /** Transactions that a node rolled back because another node had won; undefined for one server. */
  conflicts: number | undefined
  /** Operations invoked once more at the end, which must get the same response. */
  askedAgain: number
  lost: number
  doubled: number
  differing: number
  /** Acknowledged operations of which a listener heard nothing. */
  untold: number
  /** How each listener fared, in words. */
  heard: Record<string, string>
  violations: Violation[]
  /** Other problems: of the books, of holds, of processes. */
  troubles: string[]
}

export function countOperations({ operations }: History): Found['operations'] {
  const counts: Found['operations'] = {
    orchestrate: { acknowledged: 0, refused: 0 },
    place: { acknowledged: 0, refused: 0 },
    'place confirmed': { acknowledged: 0, refused: 0 },
    confirm: { acknowledged: 0, refused: 0 },
    cancel: { acknowledged: 0, refused: 0 },
    adjust: { acknowledged: 0, refused: 0 },
    'add customer': { acknowledged: 0, refused: 0 },
    'add product': { acknowledged: 0, refused: 0 },
  }
  for (const { entry } of operations) {
    if (okIn(entry).length > 0) counts[entry.kind].acknowledged++
    else if (entry.settled) counts[entry.kind].refused++
  }
  return counts
}

export function countPoRefusals({ operations }: History): number {
  return operations.filter(({ entry }) => failsIn(entry).some(({ code }) => code === 'po_number_taken')).length
}

export function sumOf(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

const MAX_SHOWN = 20

export function reportOf(found: Found): string {
  const { faults, operations } = found
  const lines: [string, string][] = [
    ['requests', `${shown(found.requests)}, of them ${shown(found.retries)} sent again`],
    ['answers', listOf(found.outcomes)],
    ['kills', `${sumOf(faults.kills)}: ${listOf(faults.kills)}`],
    ['  of them at', listOf(faults.atSteps)],
    ['network faults', `${sumOf(faults.network)}: ${listOf(faults.network)}`],
    ...(found.conflicts === undefined ? [] : [['conflicts of nodes', shown(found.conflicts)] as [string, string]]),
    ['pools filled', `${faults.poolsFilled}`],
    ['clocks jumped', `${faults.clockJumps}`],
    ['acknowledged', `${shown(found.acknowledged)}: ${listOf(mapOf(operations, ({ acknowledged }) => acknowledged))}`],
    ['refused', `${shown(found.refused)}: ${listOf(mapOf(operations, ({ refused }) => refused))}`],
    ['  for a PO number', shown(found.refusedForPo)],
    ['asked again', `${shown(found.askedAgain)}, when all was over`],
    ...Object.entries(found.heard).map(([name, summary]): [string, string] => [name, summary]),
    [
      'started',
      listOf(mapOf(found.starts, ({ starts, failed }) => `${starts}${failed > 0 ? ` (${failed} failed)` : ''}`)),
    ],
    [
      'ready after',
      `${found.readyAfterSeconds?.toFixed(1) ?? 'never'}${found.readyAfterSeconds === undefined ? '' : ' s'}`,
    ],
    ['all answered after', `${found.answeredAfterSeconds.toFixed(1)} s`],
    ['lost', String(found.lost)],
    ['doubled', String(found.doubled)],
    ['differing answers', String(found.differing)],
    ['untold', String(found.untold)],
    ['other violations', otherViolationsIn(found)],
  ]
  const width = Math.max(...lines.map(([name]) => name.length))
  const table = lines.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`)
  return [...table, '', ...verdictOf(found)].join('\n')
}

function otherViolationsIn({ violations, troubles }: Found): string {
  const counts: Record<string, number> = {}
  for (const { kind } of violations) if (!OWN_LINE.includes(kind)) counts[kind] = (counts[kind] ?? 0) + 1
  const list = listOf({ ...counts, ...(troubles.length > 0 && { 'besides callers': troubles.length }) })
  return list === 'none' ? '0' : list
}

const OWN_LINE: readonly ViolationKind[] = ['lost', 'doubled', 'differing', 'untold']

function verdictOf({ violations, troubles, seed }: Found): string[] {
  if (violations.length + troubles.length === 0)
    return ['Nothing lost, nothing doubled, one answer for each key, all of it told once, and the books balance.']
  const shownViolations = violations.slice(0, MAX_SHOWN).map(({ kind, key, seen }) => `  ${kind}: ${key}: ${seen}`)
  const more = violations.length > MAX_SHOWN ? [`  and ${violations.length - MAX_SHOWN} more`] : []
  return [`NOT RIGHT. Seed ${seed}.`, ...shownViolations, ...more, ...troubles.map((trouble) => `  ${trouble}`)]
}

function mapOf<T>(record: Record<string, T>, shownAs: (value: T) => number | string): Record<string, number | string> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, shownAs(value)]))
}

function listOf(counts: Record<string, number | string>): string {
  const some = Object.entries(counts).filter(([, count]) => count !== 0)
  return some.map(([name, count]) => `${name} ${typeof count === 'number' ? shown(count) : count}`).join(', ') || 'none'
}

function shown(count: number): string {
  return count.toLocaleString('en')
}
