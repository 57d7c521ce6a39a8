import { describe, expect, it } from 'vitest'
import { AppError } from '../platform/core/errors.ts'
import { type ChangeRequest, decideChanges, type Transition, transit } from './order-states.ts'
import type { OrderStatus } from './tables.ts'

const CREATED_AT = '2026-11-01 09:00:00.000'
const HOLD_ENDS = '2026-11-01 10:00:00.000'
const EARLY = '2026-11-01 09:30:00.000'
const TERMS = { now: EARLY, cancelWindowMinutes: 10 }

function orderIn(status: OrderStatus, times: Partial<ReturnType<typeof plain>> = {}) {
  const confirmed_at = status === 'CONFIRMED' ? '2026-11-01 09:25:00.000' : null
  const canceled_at = status === 'CANCELED' ? '2026-11-01 09:10:00.000' : null
  return Object.freeze({ ...plain(), status, confirmed_at, canceled_at, ...times })
}

function plain() {
  return {
    id: 7,
    customer_id: 3,
    status: 'CREATED' as OrderStatus,
    created_at: CREATED_AT,
    confirmed_at: null as string | null,
    canceled_at: null as string | null,
    expires_at: HOLD_ENDS as string | null,
    version: 1,
  }
}

const codeOf = (decision: unknown) => (decision instanceof AppError ? decision.code : undefined)
const outcomeOf = (decision: AppError | { status: OrderStatus }) =>
  decision instanceof AppError ? decision.code : decision.status

describe('a transition of one order', () => {
  it.each<[OrderStatus, Transition, OrderStatus | string]>([
    ['CREATED', 'confirm', 'CONFIRMED'],
    ['CREATED', 'cancel', 'CANCELED'],
    ['CREATED', 'expire', 'CREATED'],
    ['CONFIRMED', 'confirm', 'CONFIRMED'],
    ['CONFIRMED', 'cancel', 'CANCELED'],
    ['CONFIRMED', 'expire', 'CONFIRMED'],
    ['CANCELED', 'confirm', 'order_canceled'],
    ['CANCELED', 'cancel', 'CANCELED'],
    ['CANCELED', 'expire', 'CANCELED'],
  ])('when a %s order meets %s before its hold ends, then %s', (status, transition, expected) => {
    const order = orderIn(status)
    const decision = transit(order, transition, TERMS)
    expect(outcomeOf(decision)).toBe(expected)
    if (!(decision instanceof AppError) && decision.status === status) expect(decision).toBe(order)
  })

  it.each<[Transition, OrderStatus | string]>([
    ['confirm', 'order_canceled'],
    ['cancel', 'CANCELED'],
    ['expire', 'CANCELED'],
  ])('when the hold of a CREATED order has ended, then %s finds it canceled: %s', (transition, expected) => {
    const decision = transit(orderIn('CREATED'), transition, { ...TERMS, now: HOLD_ENDS })
    expect(outcomeOf(decision)).toBe(expected)
  })

  it('when it is confirmed, then its hold ends, and the given order is not mutated', () => {
    const order = orderIn('CREATED')
    expect(transit(order, 'confirm', TERMS)).toEqual({
      ...order,
      status: 'CONFIRMED',
      confirmed_at: EARLY,
      expires_at: null,
      version: 2,
    })
    expect(order.status).toBe('CREATED')
  })

  it.each([
    ['2026-11-01 09:35:00.000', undefined],
    ['2026-11-01 09:35:00.001', 'cancel_window_passed'],
  ])('when a confirmed order is canceled at %s, then the window says %s', (now, code) => {
    expect(codeOf(transit(orderIn('CONFIRMED'), 'cancel', { ...TERMS, now }))).toBe(code)
  })

  it('when the clock is behind the order, then no time is before the order was created', () => {
    const now = '2026-11-01 08:59:58.000'
    expect(transit(orderIn('CREATED'), 'confirm', { ...TERMS, now })).toMatchObject({ confirmed_at: CREATED_AT })
    expect(transit(orderIn('CREATED'), 'cancel', { ...TERMS, now })).toMatchObject({ canceled_at: CREATED_AT })
    const confirmed = orderIn('CONFIRMED')
    expect(transit(confirmed, 'cancel', { ...TERMS, now })).toMatchObject({ canceled_at: confirmed.confirmed_at })
  })
})

describe('transitions of one batch', () => {
  const change = (kind: Transition, orderId = 7, boundTo: number | null = null): ChangeRequest => ({
    kind,
    orderId,
    boundTo,
  })
  const decide = (requests: ChangeRequest[], order = orderIn('CREATED'), terms = TERMS) =>
    decideChanges(requests, new Map([[order.id, order]]), terms)

  it('when a confirm and a cancel share a batch, then each sees those before it', () => {
    const { decisions, transitions } = decide([change('confirm'), change('cancel'), change('confirm')])
    expect(decisions.map(outcomeOf)).toEqual(['CONFIRMED', 'CANCELED', 'order_canceled'])
    expect(transitions).toMatchObject([
      { before: { status: 'CREATED' }, order: { id: 7, status: 'CONFIRMED', confirmed_at: EARLY, expires_at: null } },
      { before: { status: 'CONFIRMED' }, order: { id: 7, status: 'CANCELED', canceled_at: EARLY } },
    ])
    expect(transitions.map(({ request }) => request?.kind)).toEqual(['confirm', 'cancel'])
  })

  it('when nothing changes, then no order is written', () => {
    expect(decide([change('expire'), change('confirm', 8)]).transitions).toEqual([])
  })

  it('when a refused confirm finds an ended hold, then the order moves to CANCELED', () => {
    const { decisions, transitions } = decide([change('confirm')], orderIn('CREATED'), { ...TERMS, now: HOLD_ENDS })
    expect(decisions.map(codeOf)).toEqual(['order_canceled'])
    expect(transitions).toMatchObject([{ order: { status: 'CANCELED', canceled_at: HOLD_ENDS }, request: undefined }])
  })

  it('when the caller is bound to another customer, then the order does not exist', () => {
    const { decisions, transitions } = decide([change('confirm', 7, 4), change('cancel', 8), change('confirm', 7, 3)])
    expect(decisions.map(codeOf)).toEqual(['not_found', 'not_found', undefined])
    expect(transitions).toMatchObject([{ order: { status: 'CONFIRMED' } }])
  })
})
