import { describe, expect, it } from 'vitest'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import { RowsLocked } from '../database/errors.ts'
import { NO_TELEMETRY } from '../telemetry/telemetry.ts'
import { type BatcherOptions, createBatcher, type RunMode, SetAside } from './batcher.ts'
import { createLockMemory } from './lock-memory.ts'

type Run = (commands: readonly string[], mode: RunMode) => Promise<readonly (string | AppError | SetAside)[]>
type Options = Partial<BatcherOptions<string>>

const done = async (commands: readonly string[]) => commands.map((command) => `${command} done`)

/** A batcher that records the commands of each run. A command `x:row` is of the share x and needs that row. */
function recorded(run: Run, options: Options = {}) {
  const runs: string[][] = []
  const modes: RunMode[] = []
  const submit = createBatcher<string, string>(
    (commands, mode) => {
      runs.push([...commands])
      modes.push(mode)
      return run(commands, mode)
    },
    {
      name: 'test',
      telemetry: NO_TELEMETRY,
      maxCommands: 100,
      maxWeight: 1_000,
      maxQueued: 100,
      weightOf: () => 1,
      shareOf: ([share = '']) => share,
      rowsOf: (command) => [command.slice(command.indexOf(':') + 1)],
      locks: createLockMemory(),
      lockWaitMs: 60_000,
      ...options,
    },
  )
  return { runs, modes, submit }
}

/** A batcher whose first run, of one command, lasts until it is released. */
async function busy(options: Options = {}) {
  const started = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<void>()
  const batcher = recorded(async (commands) => {
    started.resolve()
    await gate.promise
    return done(commands)
  }, options)
  const first = batcher.submit('first')
  await started.promise
  return { ...batcher, first, letGo: () => gate.resolve() }
}

/** What became of each call: its result, or the code or message of its error. */
async function outcomes(responses: Promise<string>[]): Promise<string[]> {
  const settled = await Promise.allSettled(responses)
  return settled.map((one) => (one.status === 'fulfilled' ? one.value : (one.reason.code ?? one.reason.message)))
}

describe('a batcher', () => {
  it('when a caller is alone, then it does not wait', async () => {
    const { runs, submit } = recorded(done)
    expect(await submit('a')).toBe('a done')
    expect(runs).toEqual([['a']])
  })

  it('when commands come at one moment, then one run takes them all, in order', async () => {
    const { runs, submit } = recorded(done)
    expect(await outcomes(['a', 'b', 'c'].map(submit))).toEqual(['a done', 'b done', 'c done'])
    expect(runs).toEqual([['a', 'b', 'c']])
  })

  it('when commands come during a run, then the next run takes them all, in order', async () => {
    const { runs, submit, first, letGo } = await busy()
    const later = ['a', 'b', 'c'].map(submit)
    letGo()
    expect(await outcomes([first, ...later])).toEqual(['first done', 'a done', 'b done', 'c done'])
    expect(runs).toEqual([['first'], ['a', 'b', 'c']])
  })

  it('when more wait than one run may take, then the oldest go first', async () => {
    const { runs, submit } = recorded(done, { maxCommands: 2 })
    await outcomes(['a', 'b', 'c', 'd', 'e'].map(submit))
    expect(runs).toEqual([['a', 'b'], ['c', 'd'], ['e']])
  })

  it('when a command is refused, then only its caller gets the error', async () => {
    const { runs, submit } = recorded(async (commands) =>
      commands.map((command) => (command === 'b' ? new AppError(PLATFORM_ERRORS.not_found, 'No b.') : command)),
    )
    expect(await outcomes(['a', 'b', 'c'].map(submit))).toEqual(['a', 'not_found', 'c'])
    expect(runs).toHaveLength(1)
  })

  it('when one command makes a run fail, then it is isolated, and the others succeed', async () => {
    const finished: string[] = []
    const { submit } = recorded(async (commands) => {
      if (commands.includes('d')) throw new Error('no d')
      finished.push(...commands)
      return done(commands)
    })
    const all = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
    expect(await outcomes(all.map(submit))).toEqual(
      all.map((command) => (command === 'd' ? 'no d' : `${command} done`)),
    )
    expect(finished).toEqual(['a', 'b', 'c', 'e', 'f', 'g'])
  })

  it('when a run has failed, then later commands still run', async () => {
    let broken = true
    const { submit } = recorded(async (commands) => {
      if (broken) throw new Error('broken')
      return done(commands)
    })
    expect(await outcomes(['a', 'b'].map(submit))).toEqual(['broken', 'broken'])
    broken = false
    expect(await submit('c')).toBe('c done')
  })

  it('when the database is down, then all callers get the error without a retry', async () => {
    const { runs, submit } = recorded(async () => {
      throw new AppError(PLATFORM_ERRORS.unavailable, 'The database is away.')
    })
    expect(await outcomes(['a', 'b', 'c'].map(submit))).toEqual(['unavailable', 'unavailable', 'unavailable'])
    expect(runs).toHaveLength(1)
  })

  it('when a run leaves a command without a result, then its caller gets an error', async () => {
    const { submit } = recorded(async () => ['a done'])
    const [a, b] = await outcomes(['a', 'b'].map(submit))
    expect(a).toBe('a done')
    expect(b).toMatch(/without a result/)
  })

  it('when the queue is full, then one more is refused at once, and the rest stay', async () => {
    const { submit, first, letGo } = await busy({ maxCommands: 1, maxQueued: 2 })
    const waiting = ['a', 'b'].map(submit)
    await expect(submit('c')).rejects.toMatchObject({ code: 'overloaded', extra: { retry_after: 1 } })
    letGo()
    expect(await outcomes([first, ...waiting])).toEqual(['first done', 'a done', 'b done'])
    expect(await submit('d')).toBe('d done')
  })
})

describe('fairness of a batcher', () => {
  it('when one share has many commands, then the next run still takes one of another', async () => {
    const { runs, submit, first, letGo } = await busy({ maxCommands: 3 })
    const all = ['a1', 'a2', 'a3', 'a4', 'b1'].map(submit)
    letGo()
    await outcomes([first, ...all])
    expect(runs).toEqual([['first'], ['a1', 'a2', 'b1'], ['a3', 'a4']])
  })

  it('when commands are heavy, then a run takes no more than its weight', async () => {
    const { runs, submit } = recorded(done, { maxWeight: 5, weightOf: (command) => Number(command.slice(1)) })
    await outcomes(['a3', 'a2', 'a1', 'a9', 'a1'].map(submit))
    expect(runs).toEqual([['a3', 'a2'], ['a1'], ['a9'], ['a1']])
  })

  it('when one share fills half the queue, then only that share is refused', async () => {
    const { submit, first, letGo } = await busy({ maxCommands: 1, maxQueued: 4 })
    const waiting = ['a1', 'a2'].map(submit)
    await expect(submit('a3')).rejects.toMatchObject({ code: 'overloaded', extra: { retry_after: 1 } })
    const others = ['b1', 'c1'].map(submit)
    letGo()
    expect(await outcomes([first, ...waiting, ...others])).not.toContain('overloaded')
  })
})

describe('a batcher whose rows others lock', () => {
  /** A batcher whose runs meet locked rows. */
  function withLocked(options: Options = {}) {
    const locked = new Set<string>()
    const rowOf = (command: string) => command.slice(command.indexOf(':') + 1)
    const batcher = recorded(async (commands, { waitsForLocks }) => {
      if (waitsForLocks && commands.some((command) => locked.has(rowOf(command)))) throw new RowsLocked()
      return commands.map((command) =>
        locked.has(rowOf(command)) ? new SetAside([rowOf(command)]) : `${command} done`,
      )
    }, options)
    return { ...batcher, locked }
  }

  it('when one command waits for a lock, then the others of its run still succeed', async () => {
    const { submit, locked, runs } = withLocked()
    locked.add('2')
    const stuck = submit('a:2')
    expect(await outcomes(['a:1', 'a:3'].map(submit))).toEqual(['a:1 done', 'a:3 done'])
    expect(runs[0]).toEqual(['a:2', 'a:1', 'a:3'])
    locked.clear()
    expect(await stuck).toBe('a:2 done')
  })

  it('when a row is known to be locked, then its commands stay out of shared runs', async () => {
    const { submit, locked, runs, modes } = withLocked()
    locked.add('2')
    const stuck = submit('a:2')
    await submit('a:1')
    const next = [submit('b:2'), submit('b:1')]
    expect(await next[1]).toBe('b:1 done')
    const waited = runs.filter((_, i) => modes[i]?.waitsForLocks)
    expect(waited).toEqual([['a:2', 'a:1'], ['b:1']])
    locked.clear()
    expect(await outcomes([stuck, ...next])).toEqual(['a:2 done', 'b:2 done', 'b:1 done'])
    await submit('c:2')
    expect(modes.at(-1)).toEqual({ waitsForLocks: true })
  })

  it('when the lock stays, then its command is refused after its time limit', async () => {
    const { submit, locked } = withLocked({ lockWaitMs: 100 })
    locked.add('2')
    const began = performance.now()
    await expect(submit('a:2')).rejects.toMatchObject({ code: 'unavailable', extra: { retry_after: 1 } })
    expect(performance.now() - began).toBeGreaterThanOrEqual(100)
  })

  it('when the rows of a command are not known yet, then a run does not wait for locks', async () => {
    const { submit, locked, modes } = withLocked({ rowsOf: () => undefined })
    locked.add('2')
    const stuck = submit('a:2')
    await submit('a:1')
    modes.length = 0
    await submit('a:3')
    expect(modes).not.toContainEqual({ waitsForLocks: true })
    locked.clear()
    expect(await stuck).toBe('a:2 done')
  })

  it('when an unforeseen lock comes up, then all callers get an error and none hangs', async () => {
    const { submit } = recorded(async () => {
      throw new RowsLocked()
    })
    expect(await outcomes(['a:1', 'a:2'].map(submit))).toEqual(['unavailable', 'unavailable'])
  })

  it('when a lock was remembered long enough, then the row is tried again', () => {
    let now = 0
    const locks = createLockMemory(() => now)
    locks.remember(['2'])
    now = 4_999
    expect([locks.isKnown('2'), locks.isKnown('1'), locks.isAnyKnown()]).toEqual([true, false, true])
    now = 5_001
    expect([locks.isKnown('2'), locks.isAnyKnown()]).toEqual([false, false])
  })
})
