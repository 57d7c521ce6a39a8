import { describe, expect, it } from 'vitest'
import { AppError } from '../core/errors.ts'
import { RowsLocked } from '../database/errors.ts'
import { type BatcherOptions, createBatcher, type RunMode, SetAside } from './batcher.ts'
import { createLockMemory } from './lock-memory.ts'

type Run = (commands: readonly string[], mode: RunMode) => Promise<readonly (string | AppError | SetAside)[]>
type Options = Partial<BatcherOptions<string>>

const done = async (commands: readonly string[]) => commands.map((command) => `${command} done`)

/** A batcher that tells what each of its runs was given. A command `x:row` is of the share x, and needs the row. */
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

/** One whose first run is under way, alone, until it is let go. */
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

/** What became of each: its result, or the code or message it was refused with. */
async function outcomes(responses: Promise<string>[]): Promise<string[]> {
  const settled = await Promise.allSettled(responses)
  return settled.map((one) => (one.status === 'fulfilled' ? one.value : (one.reason.code ?? one.reason.message)))
}

describe('a batcher', () => {
  it('when a caller is alone, then it waits for nobody', async () => {
    const { runs, submit } = recorded(done)
    expect(await submit('a')).toBe('a done')
    expect(runs).toEqual([['a']])
  })

  it('when commands come at one moment, then one run takes them all, in their order', async () => {
    const { runs, submit } = recorded(done)
    expect(await outcomes(['a', 'b', 'c'].map(submit))).toEqual(['a done', 'b done', 'c done'])
    expect(runs).toEqual([['a', 'b', 'c']])
  })

  it('when commands come while a run is under way, then the next run takes them all, in their order', async () => {
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

  it('when a command is refused, then its caller alone learns of it', async () => {
    const { runs, submit } = recorded(async (commands) =>
      commands.map((command) => (command === 'b' ? new AppError('not_found', 'No b.') : command)),
    )
    expect(await outcomes(['a', 'b', 'c'].map(submit))).toEqual(['a', 'not_found', 'c'])
    expect(runs).toHaveLength(1)
  })

  it('when one command makes the whole run fail, then it is found by splitting, and the others are done in order', async () => {
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

  it('when a run has failed, then commands that come later are done', async () => {
    let broken = true
    const { submit } = recorded(async (commands) => {
      if (broken) throw new Error('broken')
      return done(commands)
    })
    expect(await outcomes(['a', 'b'].map(submit))).toEqual(['broken', 'broken'])
    broken = false
    expect(await submit('c')).toBe('c done')
  })

  it('when the database is away, then all learn of it and nothing is tried again', async () => {
    const { runs, submit } = recorded(async () => {
      throw new AppError('unavailable', 'The database is away.')
    })
    expect(await outcomes(['a', 'b', 'c'].map(submit))).toEqual(['unavailable', 'unavailable', 'unavailable'])
    expect(runs).toHaveLength(1)
  })

  it('when a run leaves a command without a result, then its caller does not wait for ever', async () => {
    const { submit } = recorded(async () => ['a done'])
    const [a, b] = await outcomes(['a', 'b'].map(submit))
    expect(a).toBe('a done')
    expect(b).toMatch(/without a result/)
  })

  it('when too many wait, then one more is refused at once, and those before it are not', async () => {
    const { submit, first, letGo } = await busy({ maxCommands: 1, maxQueued: 2 })
    const waiting = ['a', 'b'].map(submit)
    await expect(submit('c')).rejects.toMatchObject({ code: 'overloaded', extra: { retry_after: 1 } })
    letGo()
    expect(await outcomes([first, ...waiting])).toEqual(['first done', 'a done', 'b done'])
    expect(await submit('d')).toBe('d done')
  })
})

describe('a batcher that is fair', () => {
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

  it('when half of the queue is of one share, then it is refused more, and others are not', async () => {
    const { submit, first, letGo } = await busy({ maxCommands: 1, maxQueued: 4 })
    const waiting = ['a1', 'a2'].map(submit)
    await expect(submit('a3')).rejects.toMatchObject({ code: 'overloaded', extra: { retry_after: 1 } })
    const others = ['b1', 'c1'].map(submit)
    letGo()
    expect(await outcomes([first, ...waiting, ...others])).not.toContain('overloaded')
  })
})

describe('a batcher whose rows others lock', () => {
  /** Runs against rows of which some are locked. */
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

  it('when one command waits for a lock in vain, then the others of its run are done', async () => {
    const { submit, locked, runs } = withLocked()
    locked.add('2')
    const stuck = submit('a:2')
    expect(await outcomes(['a:1', 'a:3'].map(submit))).toEqual(['a:1 done', 'a:3 done'])
    expect(runs[0]).toEqual(['a:2', 'a:1', 'a:3'])
    locked.clear()
    expect(await stuck).toBe('a:2 done')
  })

  it('when a row is known to be locked, then commands that need it do not come into a run that waits', async () => {
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

  it('when the lock stays, then its command is refused once its time has passed', async () => {
    const { submit, locked } = withLocked({ lockWaitMs: 100 })
    locked.add('2')
    const began = performance.now()
    await expect(submit('a:2')).rejects.toMatchObject({ code: 'unavailable', extra: { retry_after: 1 } })
    expect(performance.now() - began).toBeGreaterThanOrEqual(100)
  })

  it('when rows are known only later and a lock is known, then a run does not wait', async () => {
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

  it('when a lock comes between that no mode foresees, then all are told, and nobody waits for ever', async () => {
    const { submit } = recorded(async () => {
      throw new RowsLocked()
    })
    expect(await outcomes(['a:1', 'a:2'].map(submit))).toEqual(['unavailable', 'unavailable'])
  })

  it('when a lock is remembered for long enough, then it is looked for again', () => {
    let now = 0
    const locks = createLockMemory(() => now)
    locks.remember(['2'])
    now = 4_999
    expect([locks.isKnown('2'), locks.isKnown('1'), locks.isAnyKnown()]).toEqual([true, false, true])
    now = 5_001
    expect([locks.isKnown('2'), locks.isAnyKnown()]).toEqual([false, false])
  })
})
