import type { FeedEvent } from '../../testing/replay.ts'
import type { Played } from './histories.ts'
import type { Observed, Unexplained } from './linearizability.ts'
import type { Expected, Seen } from './model.ts'

/** Describes the relevant part of a history that the model can't explain. */
export function formatFailure(played: Played, { followed, next, surplus }: Unexplained): string {
  const { all, lineOf } = linesOf(played)
  if (surplus) return [...surplusAs(surplus), '', ...all.map(lineOf)].join('\n')
  const end = Math.max(...next.map(({ observed }) => observed.answered))
  const done = all.filter(({ sent }) => sent < end)
  return [
    'What was done, with the moments of its sending and of its answer:',
    ...done.map(lineOf),
    '',
    `The model explains ${followed.length} of these ${done.length} calls, in this order:`,
    ...followed.map(lineOf),
    '',
    'and none of those that may have come next:',
    ...next.flatMap(({ observed, expected }) => [
      lineOf(observed),
      ...expected.map((one) => `    not ${expectedAs(one)}`),
    ]),
  ].join('\n')
}

/** Describes a history whose responses the model explains, and whose feed is wrong. */
export function formatFeedFailure(played: Played, faults: readonly string[]): string {
  const { all, lineOf } = linesOf(played)
  const events = played.feed.events.map((event) => `  ${JSON.stringify(event)}`)
  return ['The feed is wrong:', ...faults, '', 'What was done:', ...all.map(lineOf), '', 'The feed:', ...events].join(
    '\n',
  )
}

/** The calls by the moment of their sending, and how a line shows one. */
function linesOf({ branches }: Played) {
  const all = branches.flatMap((calls, branch) => calls.map((observed) => ({ observed, branch })))
  const lineOf = (observed: Observed) => {
    const branch = all.find((one) => one.observed === observed)?.branch ?? 0
    return `  ${momentsOf(observed)} ${nameOf(branch, branches.length)}: ${callOf(observed)} → ${seenAs(observed.seen)}`
  }
  return { all: all.map(({ observed }) => observed).sort((a, b) => a.sent - b.sent), lineOf }
}

function surplusAs(events: readonly FeedEvent[]): string[] {
  return [
    'The model explains all responses. No call, in whatever order, has these events of the feed:',
    ...events.map((event) => `  ${JSON.stringify(event)}`),
    '',
    'What was done:',
  ]
}

function momentsOf({ sent, answered }: Observed): string {
  return `${sent}–${answered}`.padStart(9)
}

function nameOf(branch: number, branches: number): string {
  if (branch === 0) return 'beginning'
  return branch === branches - 1 ? 'end' : `caller ${branch}`
}

function callOf({ call }: Observed): string {
  const { verb, ...rest } = call
  const shown = 'after' in rest && rest.after ? { ...rest, after: rest.after.row.id } : rest
  return `${verb} ${JSON.stringify(shown)}`
}

function seenAs(seen: Seen): string {
  return responseAs(seen, seen.status < 300 ? seen.text : JSON.stringify(seen.body))
}

function expectedAs({ text, ...expected }: Expected): string {
  return `${responseAs(expected, text ?? JSON.stringify(expected.body))} (${expected.what})`
}

function responseAs({ status, replayed, etag }: Omit<Seen, 'text'>, body: string): string {
  return [status, replayed ? 'replayed' : '', etag ?? '', body].filter((part) => part !== '').join(' ')
}
