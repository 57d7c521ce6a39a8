import { describe, expect, it } from 'vitest'
import { hasRightQuantity, isRightQuantity, nearestQuantities } from './quantity-rule.ts'

const rule = (min_qty: number, qty_step: number, max_qty: number | null) => ({ min_qty, qty_step, max_qty })

describe('the quantities of a product', () => {
  it.each([
    [rule(1, 1, null), [1, 2, 200_000_000], [0]],
    [rule(1, 6, null), [6, 12, 600], [1, 5, 7, 0]],
    [rule(10, 6, null), [12, 18], [6, 10, 11]],
    [rule(12, 6, 20), [12, 18], [6, 20, 24]],
    [rule(5, 1, 5), [5], [4, 6]],
    [rule(1_000_000, 1_000_000, 200_000_000), [1_000_000, 200_000_000], [500_000, 201_000_000]],
  ])('when the rule is %j, then %j are right and %j are wrong', (one, right, wrong) => {
    expect(right.filter((qty) => !isRightQuantity(one, qty))).toEqual([])
    expect(wrong.filter((qty) => isRightQuantity(one, qty))).toEqual([])
  })

  it.each([
    [rule(1, 6, null), 7, [6, 12]],
    [rule(1, 6, null), 5, [null, 6]],
    [rule(1, 6, null), 12, [12, 12]],
    [rule(10, 6, null), 6, [null, 12]],
    [rule(10, 6, null), 13, [12, 18]],
    [rule(12, 6, 20), 19, [18, null]],
    [rule(12, 6, 20), 1_000, [18, null]],
    [rule(12, 6, 20), 1, [null, 12]],
    [rule(5, 1, 5), 6, [5, null]],
    [rule(10, 6, 11), 11, [null, null]],
    [rule(10, 6, 11), 100, [null, null]],
  ])('when the rule is %j and %i is asked for, then the nearest are %j', (one, qty, nearest) => {
    expect(nearestQuantities(one, qty)).toEqual(nearest)
  })

  it.each([
    [rule(1, 1, null), true],
    [rule(1, 1, 1), true],
    [rule(10, 6, 12), true],
    [rule(10, 6, 11), false],
    [rule(2, 1, 1), false],
  ])('when the rule is %j, then some quantity is right: %s', (one, any) => {
    expect(hasRightQuantity(one)).toBe(any)
  })
})
