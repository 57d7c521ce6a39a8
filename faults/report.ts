import type { Harm, Violation } from './checker.ts'
import type { Ledger } from './client.ts'
import { doneIn, type Kind } from './history.ts'
import type { Attacks } from './nemesis.ts'

/** What a run found, as `--json` prints it. */
export interface Found {
  seed: number
  seconds: number
  database: string
  requests: number
  retries: number
  /** By status, and by why there was none. */
  outcomes: Record<string, number>
  stories: Record<Kind, { acknowledged: number; refused: number }>
  acknowledged: number
  refused: number
  attacks: Attacks
  /** How often each process was started, and how often its start failed. */
  starts: Record<string, { starts: number; inVain: number }>
  /** From the last blow, which hits everything at once, until every service was ready, and until every caller had its answer. */
  readyAfterSeconds: number | undefined
  answeredAfterSeconds: number
  /** Transactions that a node rolled back because another one had won; undefined where there is one server. */
  conflicts: number | undefined
  /** Sent once more when all was over, each to be answered as it was. */
  askedAgain: number
  lost: number
  doubled: number
  differing: number
  violations: Violation[]
  /** What was wrong besides: with the books, with holds, with processes. */
  troubles: string[]
}

export function countStories({ wishes }: Ledger): Found['stories'] {
  const counts: Found['stories'] = {
    orchestrate: { acknowledged: 0, refused: 0 },
    place: { acknowledged: 0, refused: 0 },
    'place confirmed': { acknowledged: 0, refused: 0 },
    confirm: { acknowledged: 0, refused: 0 },
    cancel: { acknowledged: 0, refused: 0 },
    adjust: { acknowledged: 0, refused: 0 },
    'add customer': { acknowledged: 0, refused: 0 },
    'add product': { acknowledged: 0, refused: 0 },
  }
  for (const { story } of wishes) {
    if (doneIn(story).length > 0) counts[story.kind].acknowledged++
    else if (story.settled) counts[story.kind].refused++
  }
  return counts
}

export function sumOf(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

const MAX_SHOWN = 20

export function reportOf(found: Found): string {
  const { attacks, stories } = found
  const lines: [string, string][] = [
    ['requests', `${shown(found.requests)}, of them ${shown(found.retries)} sent again`],
    ['answers', listOf(found.outcomes)],
    ['kills', `${sumOf(attacks.kills)}: ${listOf(attacks.kills)}`],
    ['  of them at', listOf(attacks.atSteps)],
    ['network faults', `${sumOf(attacks.network)}: ${listOf(attacks.network)}`],
    ...(found.conflicts === undefined ? [] : [['conflicts of nodes', shown(found.conflicts)] as [string, string]]),
    ['pools filled', `${attacks.poolsFilled}`],
    ['clocks jumped', `${attacks.clockJumps}`],
    ['acknowledged', `${shown(found.acknowledged)}: ${listOf(mapOf(stories, ({ acknowledged }) => acknowledged))}`],
    ['refused', `${shown(found.refused)}: ${listOf(mapOf(stories, ({ refused }) => refused))}`],
    ['asked again', `${shown(found.askedAgain)}, when all was over`],
    [
      'started',
      listOf(mapOf(found.starts, ({ starts, inVain }) => `${starts}${inVain > 0 ? ` (${inVain} failed)` : ''}`)),
    ],
    [
      'ready after',
      `${found.readyAfterSeconds?.toFixed(1) ?? 'never'}${found.readyAfterSeconds === undefined ? '' : ' s'}`,
    ],
    ['all answered after', `${found.answeredAfterSeconds.toFixed(1)} s`],
    ['lost', String(found.lost)],
    ['doubled', String(found.doubled)],
    ['differing answers', String(found.differing)],
    ['other harm', otherHarmIn(found)],
  ]
  const width = Math.max(...lines.map(([name]) => name.length))
  const table = lines.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`)
  return [...table, '', ...verdictOf(found)].join('\n')
}

function otherHarmIn({ violations, troubles }: Found): string {
  const counts: Record<string, number> = {}
  for (const { harm } of violations) if (!OWN_LINE.includes(harm)) counts[harm] = (counts[harm] ?? 0) + 1
  const list = listOf({ ...counts, ...(troubles.length > 0 && { 'besides callers': troubles.length }) })
  return list === 'none' ? '0' : list
}

const OWN_LINE: readonly Harm[] = ['lost', 'doubled', 'differing']

function verdictOf({ violations, troubles, seed }: Found): string[] {
  if (violations.length + troubles.length === 0)
    return ['Nothing lost, nothing doubled, one answer for each key, and the books balance.']
  const harms = violations.slice(0, MAX_SHOWN).map(({ harm, key, seen }) => `  ${harm}: ${key}: ${seen}`)
  const more = violations.length > MAX_SHOWN ? [`  and ${violations.length - MAX_SHOWN} more`] : []
  return [`NOT RIGHT. Seed ${seed}.`, ...harms, ...more, ...troubles.map((trouble) => `  ${trouble}`)]
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
