/** What one caller wanted of the system, under one key, and all that it was told about it. */
export interface Story {
  kind: Kind
  key: string
  /** The number of the order that it is about: the quantity of its marked line. Undefined where it is about none. */
  serial: number | undefined
  /** What it makes is called so in the database, where that is no order. */
  name: string | undefined
  tries: number
  /** Tries that came to nothing the caller could know: no answer, or a fault of the system's. */
  unanswered: number
  /** Different answers, however often each was given. */
  told: Told[]
  /** Whether it came to an end. */
  settled: boolean
}

export type Kind =
  | 'orchestrate'
  | 'place'
  | 'place confirmed'
  | 'confirm'
  | 'cancel'
  | 'adjust'
  | 'add customer'
  | 'add product'

/** An answer that settles a story: something was done, or it is refused. */
export interface Told {
  status: number
  body: string
  /** The problem's code, of a refusal. */
  code: string | undefined
  times: number
  /** When it first came, and when the last request that it answers was sent, in ms. */
  firstAt: number
  lastAskedAt: number
}

export function newStory(kind: Kind, key: string, about: { serial?: number; name?: string }): Story {
  const { serial, name } = about
  return { kind, key, serial, name, tries: 0, unanswered: 0, told: [], settled: false }
}

/** Something was done. */
export function isDone({ status }: { status: number }): boolean {
  return status >= 200 && status < 300
}

/** Sending the same request again would not help. Too many requests, too slow a request, and faults of the system's may pass. */
export function isDefinitive({ status }: { status: number }): boolean {
  return isDone({ status }) || (status >= 400 && status < 500 && status !== 408 && status !== 429)
}

export function doneIn(story: Story): Told[] {
  return story.told.filter(isDone)
}

export function refusalsIn(story: Story): Told[] {
  return story.told.filter((told) => !isDone(told))
}

/** Notes an answer that settles the story. */
export function tell(
  story: Story,
  response: { status: number; body: string },
  askedAt: number,
  respondedAt: number,
): void {
  story.settled = true
  const code = isDone(response) ? undefined : codeOf(response.body)
  const same = ({ status, body, code: other }: Told) =>
    status === response.status && (code === undefined ? body === response.body : other === code)
  const known = story.told.find(same)
  if (known) {
    known.times++
    known.lastAskedAt = Math.max(known.lastAskedAt, askedAt)
  } else story.told.push({ ...response, code, times: 1, firstAt: respondedAt, lastAskedAt: askedAt })
}

function codeOf(body: string): string {
  const { code } = readJson(body)
  return typeof code === 'string' ? code : 'no problem document'
}

export function readJson(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body)
    return isRecord(value) ? value : {}
  } catch {
    return {}
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
