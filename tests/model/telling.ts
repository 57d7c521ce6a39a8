import type { Played } from './histories.ts'
import type { Observed, Unexplained } from './linearizing.ts'
import type { Expected, Seen } from './model.ts'

/** A history that the model does not know, for people; of what was read at its end only what matters. */
export function tell({ branches }: Played, { followed, next }: Unexplained): string {
  const all = branches.flatMap((calls, branch) => calls.map((observed) => ({ observed, branch })))
  const lineOf = (observed: Observed) => {
    const branch = all.find((one) => one.observed === observed)?.branch ?? 0
    return `  ${momentsOf(observed)} ${nameOf(branch, branches.length)}: ${callOf(observed)} → ${seenAs(observed.seen)}`
  }
  const told = all.filter(({ observed, branch }) => {
    return branch < branches.length - 1 || next.some((one) => one.observed === observed)
  })
  const done = told.toSorted((a, b) => a.observed.sent - b.observed.sent).map(({ observed }) => lineOf(observed))
  return [
    'What was done, with the moments of its sending and of its answer:',
    ...done,
    '',
    `The model explains ${followed.length} of these ${all.length} calls, in this order:`,
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
  const told = 'after' in rest && rest.after ? { ...rest, after: rest.after.row.id } : rest
  return `${verb} ${JSON.stringify(told)}`
}

function seenAs({ status, body, etag, replayed }: Seen): string {
  return [status, replayed ? 'replayed' : '', etag ?? '', JSON.stringify(body)].filter((part) => part !== '').join(' ')
}

function expectedAs({ what, text, ...expected }: Expected): string {
  return `${seenAs({ text: text ?? '', ...expected })} (${what})`
}
