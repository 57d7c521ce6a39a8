import { expect, it } from 'vitest'
import { createSharedReads, createSingleFlight } from './single-flight.ts'

const MAX_AGE_MS = 5

/** A clock that the test sets, and calls that end on command. */
function flights() {
  const clock = { now: 0 }
  const begun: PromiseWithResolvers<string>[] = []
  const share = createSingleFlight<string, string>(MAX_AGE_MS, () => clock.now)
  const ask = (key: string) =>
    share(key, () => {
      const gate = Promise.withResolvers<string>()
      begun.push(gate)
      return gate.promise
    })
  return { clock, begun, ask }
}

it('when a call has just begun, then later calls with its key share it', async () => {
  const { clock, begun, ask } = flights()
  const first = ask('a')
  clock.now = MAX_AGE_MS
  const second = ask('a')
  expect([first.joined, second.joined, begun.length]).toEqual([false, true, 1])
  begun[0]?.resolve('it')
  expect(await Promise.all([first.result, second.result])).toEqual(['it', 'it'])
})

it('when a call began too long ago, then it is not shared, and not waited for', async () => {
  const { clock, begun, ask } = flights()
  const old = ask('a')
  clock.now = MAX_AGE_MS + 1
  const fresh = ask('a')
  expect([fresh.joined, begun.length]).toEqual([false, 2])
  begun[1]?.resolve('new')
  expect(await fresh.result).toBe('new')
  begun[0]?.resolve('old')
  expect(await old.result).toBe('old')
})

it('when a call has ended, or is for another key, then a new one begins', async () => {
  const { begun, ask } = flights()
  const first = ask('a')
  expect(ask('b').joined).toBe(false)
  begun[0]?.resolve('it')
  await first.result
  expect(ask('a').joined).toBe(false)
})

it('when a call fails, then those who share it fail, and the next call starts anew', async () => {
  const { begun, ask } = flights()
  const [first, second] = [ask('a'), ask('a')]
  begun[0]?.reject(new Error('away'))
  await expect(first.result).rejects.toThrow('away')
  await expect(second.result).rejects.toThrow('away')
  expect(ask('a').joined).toBe(false)
})

it('when one turn reads a key twice, then it is read once, and again in a later turn', async () => {
  const asked: string[] = []
  const read = createSharedReads(async ({ of }: { of: string }) => {
    asked.push(of)
    return `${of} ${asked.length}`
  })
  expect(await Promise.all([read({ of: 'a' }), read({ of: 'b' }), read({ of: 'a' })])).toEqual(['a 1', 'b 2', 'a 1'])
  expect(await read({ of: 'a' })).toBe('a 3')
  expect(asked).toEqual(['a', 'b', 'a'])
})

it('when a read fails, then only its own callers fail, and the next read starts anew', async () => {
  let broken = true
  const read = createSharedReads(async (of: string) => {
    if (of === 'bad' && broken) throw new Error('away')
    return of
  })
  const results = await Promise.allSettled([read('bad'), read('good'), read('bad')])
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected'])
  broken = false
  expect(await read('bad')).toBe('bad')
})
