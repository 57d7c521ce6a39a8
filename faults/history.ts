// As Jepsen has it: an operation is invoked; it completes as ok or fail, or its outcome stays unknown (info).

/** A PO number of a customer, as callers write it. */
export interface PoNumber {
  customerId: number
  text: string
}

/** One operation of one caller, under one key, with all its invocations and their outcomes. */
export interface HistoryEntry {
  kind: OperationKind
  key: string
  /** The number of its order, which is the quantity of the order's marked line; undefined for other operations. */
  serial: number | undefined
  /** The name of the row that it creates, unless it creates an order. */
  name: string | undefined
  /** The PO number that it gives to its order, if any. */
  po: PoNumber | undefined
  invocations: number
  /** Invocations without a known outcome: no response, or an error of the system. */
  infos: number
  /** The different final responses. */
  completions: Completion[]
  /** Whether any invocation has completed. */
  settled: boolean
}

export type OperationKind =
  | 'orchestrate'
  | 'place'
  | 'place confirmed'
  | 'confirm'
  | 'cancel'
  | 'adjust'
  | 'add customer'
  | 'add product'

/** A final response: ok when something was done, fail when the request was refused. */
export interface Completion {
  status: number
  body: string
  /** The problem's code; undefined for ok. */
  code: string | undefined
  /** The order that a problem names, if any. */
  orderId: number | undefined
  times: number
  /** When it first arrived, and when the last invocation with this response was sent, in ms. */
  firstAt: number
  lastInvokedAt: number
}

export function newEntry(
  kind: OperationKind,
  key: string,
  about: { serial?: number; name?: string; po?: PoNumber | undefined },
): HistoryEntry {
  const { serial, name, po } = about
  return { kind, key, serial, name, po, invocations: 0, infos: 0, completions: [], settled: false }
}

export function isOk({ status }: { status: number }): boolean {
  return status >= 200 && status < 300
}

/** Whether a retry can't change the response. 408, 429 and errors of the system may pass. */
export function isDefinitive({ status }: { status: number }): boolean {
  return isOk({ status }) || (status >= 400 && status < 500 && status !== 408 && status !== 429)
}

export function okIn(entry: HistoryEntry): Completion[] {
  return entry.completions.filter(isOk)
}

export function failsIn(entry: HistoryEntry): Completion[] {
  return entry.completions.filter((completion) => !isOk(completion))
}

export function recordCompletion(
  entry: HistoryEntry,
  response: { status: number; body: string },
  invokedAt: number,
  completedAt: number,
): void {
  entry.settled = true
  const { code, orderId } = isOk(response) ? OK : reasonIn(response.body)
  const same = (other: Completion) =>
    other.status === response.status &&
    (code === undefined ? other.body === response.body : other.code === code && other.orderId === orderId)
  const known = entry.completions.find(same)
  if (known) {
    known.times++
    known.lastInvokedAt = Math.max(known.lastInvokedAt, invokedAt)
  } else
    entry.completions.push({ ...response, code, orderId, times: 1, firstAt: completedAt, lastInvokedAt: invokedAt })
}

const OK = { code: undefined, orderId: undefined }

function reasonIn(body: string): Pick<Completion, 'code' | 'orderId'> {
  const { code, order_id } = readJson(body)
  return {
    code: typeof code === 'string' ? code : 'no problem document',
    orderId: typeof order_id === 'number' ? order_id : undefined,
  }
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
