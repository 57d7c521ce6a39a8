import { doneIn, isRecord, type Kind, readJson, refusalsIn, type Story, type Told } from './history.ts'

/** What is in the database when all is over. */
export interface Kept {
  /** All but the demo data's. */
  orders: readonly KeptOrder[]
  /** What was made besides orders. */
  others: readonly { id: number; name: string }[]
}

export interface KeptOrder {
  id: number
  /** The quantity of its marked line; undefined when it has none. */
  serial: number | undefined
  status: 'CREATED' | 'CONFIRMED' | 'CANCELED'
  wasConfirmed: boolean
  totalCents: number
}

/**
 * What must never be: something acknowledged is not there; something was done twice; callers of one key were told different
 * things; a key was refused when it had been acknowledged before; a refusal that nothing calls for; something is there, or
 * in a state, that nobody asked for; a caller never got an answer.
 */
export type Harm = 'lost' | 'doubled' | 'differing' | 'taken back' | 'wrongly refused' | 'unasked' | 'unanswered'

export interface Violation {
  harm: Harm
  key: string
  seen: string
}

const REFUSALS: Record<Kind, readonly string[]> = {
  orchestrate: ['insufficient_stock'],
  place: ['insufficient_stock'],
  'place confirmed': ['insufficient_stock'],
  confirm: ['order_canceled'],
  cancel: ['cancel_window_passed'],
  adjust: ['insufficient_stock'],
  'add customer': [],
  'add product': [],
}

const PLACING: readonly Kind[] = ['orchestrate', 'place', 'place confirmed']

/** Holds what callers were told against what is there. Empty: nothing lost, nothing doubled, one answer a key. */
export function judge(stories: readonly Story[], kept: Kept, marks: readonly number[]): Violation[] {
  const bySerial = Map.groupBy(
    stories.filter(({ serial }) => serial !== undefined),
    ({ serial }) => serial,
  )
  const orders = Map.groupBy(kept.orders, ({ serial }) => serial)
  const others = Map.groupBy(kept.others, ({ name }) => name)
  return [
    ...stories.flatMap(judgeResponses),
    ...[...bySerial].flatMap(([serial, ofOrder]) => judgeOrder(ofOrder, orders.get(serial) ?? [], marks)),
    ...stories.flatMap((story) => (story.name === undefined ? [] : judgeOther(story, others.get(story.name) ?? []))),
    ...kept.orders.filter(({ serial }) => serial === undefined || !bySerial.has(serial)).map(unaskedOrder),
  ]
}

function judgeResponses(story: Story): Violation[] {
  const { kind, key, settled } = story
  const found: Violation[] = []
  const [first, second] = doneIn(story)
  const refusals = refusalsIn(story)
  if (!settled) found.push({ harm: 'unanswered', key, seen: `${story.tries} tries, no answer that settles it` })
  if (first && second) found.push({ harm: 'differing', key, seen: `${shown(first)} and ${shown(second)}` })
  const later = refusals.find(({ lastAskedAt }) => first !== undefined && lastAskedAt > first.firstAt)
  if (first && later) found.push({ harm: 'taken back', key, seen: `${shown(first)}, then ${shown(later)}` })
  const wrong = refusals.find(({ code }) => code === undefined || !REFUSALS[kind].includes(code))
  if (wrong) found.push({ harm: 'wrongly refused', key, seen: shown(wrong) })
  return found
}

function shown({ status, body }: Told): string {
  return `${status} ${body}`
}

/** What was told about one order, to all who asked for something of it. */
function judgeOrder(stories: readonly Story[], orders: readonly KeptOrder[], marks: readonly number[]): Violation[] {
  const [placing] = stories.filter(({ kind }) => PLACING.includes(kind))
  if (placing === undefined) return []
  const key = placing.key
  const asked = (kind: Kind) => stories.some((story) => story.kind === kind && story.tries > 0)
  const seen = `${orders.map(inWords).join(', ') || 'no order'}; ${stories.map(outcomeInWords).join(', ')}`
  const violation = (harm: Harm): Violation => ({ harm, key, seen })

  const found: Violation[] = []
  const live = orders.filter(({ status }) => status !== 'CANCELED')
  const confirmed = orders.filter(({ wasConfirmed }) => wasConfirmed)
  const confirms = placing.kind !== 'place'
  if (orders.length > 1) found.push(violation('doubled'))
  if (confirmed.length > 0 && !confirms && !asked('confirm')) found.push(violation('unasked'))
  if (confirmed.some(({ status }) => status === 'CANCELED') && !asked('cancel')) found.push(violation('lost'))
  if (confirms && orders.some(({ wasConfirmed }) => !wasConfirmed)) {
    found.push({ ...violation('unasked'), seen: `an order is there that was never confirmed: ${seen}` })
  }
  const refused = stories.every((story) => story.unanswered === 0) && doneIn(placing).length === 0 && placing.settled
  if (refused && live.length > 0) found.push({ ...violation('unasked'), seen: `refused, and yet: ${seen}` })
  for (const story of stories) {
    const [response] = doneIn(story)
    if (response && !holds(story.kind, response, placing.serial, orders, asked('cancel'), marks))
      found.push(violation('lost'))
  }
  return found
}

function inWords({ id, status, wasConfirmed }: KeptOrder): string {
  return `order ${id} is ${status}${wasConfirmed && status === 'CANCELED' ? ' after CONFIRMED' : ''}`
}

function outcomeInWords({ kind, tries, told }: Story): string {
  return `${kind} in ${tries} tries: ${told.map(shown).join(' and ') || 'no answer'}`
}

/** Whether what was acknowledged is there, in the acknowledged state or in one that it may have gone on to. */
function holds(
  kind: Kind,
  response: Told,
  serial: number | undefined,
  orders: readonly KeptOrder[],
  mayBeCanceled: boolean,
  marks: readonly number[],
): boolean {
  const answered = orderIn(kind, response.body)
  const order = orders.find(({ id }) => id === answered.id)
  if (order === undefined || answered.totalCents !== order.totalCents) return false
  // It must be this caller's own order, not that of another.
  if (answered.lines.find(({ productId }) => marks.includes(productId))?.qty !== serial) return false
  if (kind === 'place') return answered.status === 'CREATED'
  if (kind === 'cancel') return answered.status === 'CANCELED' && order.status === 'CANCELED'
  const stands = order.status === 'CONFIRMED' || (mayBeCanceled && order.status === 'CANCELED')
  return answered.status === 'CONFIRMED' && order.wasConfirmed && stands
}

interface AnsweredOrder {
  id: unknown
  status: unknown
  totalCents: unknown
  lines: { productId: number; qty: number }[]
}

function orderIn(kind: Kind, body: string): AnsweredOrder {
  const whole = readJson(body)
  const data = isRecord(whole.data) ? whole.data : {}
  const order = kind === 'orchestrate' ? (isRecord(data.order) ? data.order : {}) : whole
  const items = Array.isArray(order.items) ? order.items.filter(isRecord) : []
  const lines = items.map(({ product_id, qty }) => ({ productId: Number(product_id), qty: Number(qty) }))
  return { id: order.id, status: order.status, totalCents: order.total_cents, lines }
}

/** What is no order is there once, under the id that was told. */
function judgeOther(story: Story, rows: readonly { id: number }[]): Violation[] {
  const { key } = story
  const [response] = doneIn(story)
  const seen = `${rows.map(({ id }) => `id ${id}`).join(', ') || 'nothing'}; ${outcomeInWords(story)}`
  if (rows.length > 1) return [{ harm: 'doubled', key, seen }]
  if (response && rows[0]?.id !== readJson(response.body).id) return [{ harm: 'lost', key, seen }]
  return []
}

function unaskedOrder(order: KeptOrder): Violation {
  return {
    harm: 'unasked',
    key: `mark ${order.serial ?? 'missing'}`,
    seen: `${inWords(order)}, and nobody asked for it`,
  }
}
