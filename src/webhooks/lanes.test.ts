import { describe, expect, it } from 'vitest'
import { createLane, isIdle, type Lane, MAX_IN_FLIGHT, roomIn, takeBack } from './lanes.ts'

const delivery = { id: 1, endpoint_id: 1, event_id: 1, tries: 0 }
const OK = { status: 200, error: null, retryAfter: null, durationMs: 20, excerpt: '' }

function laneWith(fields: Partial<Lane>): Lane {
  return { ...createLane(1), ...fields }
}

describe('the room of a lane', () => {
  it.each([
    ['it has not responded yet', { isFast: false, taken: 0 }, 0, 1],
    ['its first delivery is on its way', { isFast: false, taken: 1 }, 0, 0],
    ['it responds soon', { isFast: true, taken: 0 }, 0, 4],
    ['it responds soon and has some', { isFast: true, taken: 3 }, 0, 1],
    ['it has more than it may have by now', { isFast: false, taken: 3 }, 0, 0],
    ['others have nearly all', { isFast: true, taken: 0 }, MAX_IN_FLIGHT - 2, 2],
    ['others have all', { isFast: true, taken: 0 }, MAX_IN_FLIGHT, 0],
  ])('when %s, then %j beside %i of others leaves %i', (_, fields, others, room) => {
    const lane = laneWith(fields)
    expect(roomIn(lane, [lane, laneWith({ taken: others })])).toBe(room)
  })
})

describe('what comes back', () => {
  it.each([
    ['a response', OK, true],
    ['a refusal', { ...OK, status: 500 }, true],
    ['no response', { ...OK, status: null, error: 'timeout' }, false],
    ['a slow response', { ...OK, durationMs: 5_000 }, false],
  ])('when it is %s, then the lane is fast: %s', (_, result, isFast) => {
    for (const before of [true, false]) {
      const lane = laneWith({ isFast: before, taken: 2 })
      takeBack(lane, { delivery, lease: 'a', result, until: 9 })
      expect(lane).toMatchObject({ isFast, taken: 1, ended: [{ result }] })
    }
  })

  it('when a delivery is given back, then that says nothing of the endpoint', () => {
    for (const isFast of [true, false]) {
      const lane = laneWith({ isFast, taken: 1 })
      takeBack(lane, { delivery, lease: 'a', result: undefined, until: 9 })
      expect(lane.isFast).toBe(isFast)
    }
  })
})

it('when nothing of a lane is under way, then it is idle', () => {
  expect(isIdle(createLane(1), 0)).toBe(true)
  const ended = [{ delivery, lease: 'a', result: OK, until: 9 }]
  for (const busy of [{ taken: 1 }, { isBusy: true }, { ended }, { restsUntil: 5 }]) {
    expect(isIdle(laneWith(busy), 4)).toBe(false)
  }
  expect(isIdle(laneWith({ restsUntil: 5 }), 5)).toBe(true)
})
