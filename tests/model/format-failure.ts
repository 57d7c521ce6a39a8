import type { Played } from './histories.ts'
import type { Observed, Unexplained } from './linearizability.ts'
import type { Expected, Seen } from './model.ts'

/** Describes the relevant part of a history that the model can't explain. */
export function formatFailure({ branches }: Played, { followed, next }: Unexplained): string {
  const all = branches.flatMap((calls, branch) => calls.map((observed) => ({ observed, branch })))
  const lineOf = (observed: Observed) => {
    const branch = all.find((one) => one.observed === observed)?.branch ?? 0
    return `  ${momentsOf(observed)} ${nameOf(branch, branches.length)}: ${callOf(observed)} → ${seenAs(observed.seen)}`
  }
  const end = Math.max(...next.map(({ observed }) => observed.answered))
  const done = all.map(({ observed }) => observed).filter(({ sent }) => sent < end)
  return [
    'What was done, with the moments of its sending and of its answer:',
    ...done.toSorted((a, b) => a.sent - b.sent).map(lineOf),
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
