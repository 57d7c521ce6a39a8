import { describe, expect, it } from 'vitest'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import { createLoader } from './loader.ts'

const done = async (commands: readonly string[]) => commands.map((command) => `${command} done`)

/** What became of each: its result, or the code or message it was refused with. */
async function outcomes(responses: Promise<string>[]): Promise<string[]> {
  const settled = await Promise.allSettled(responses)
  return settled.map((one) => (one.status === 'fulfilled' ? one.value : (one.reason.code ?? one.reason.message)))
}

describe('a loader', () => {
  /** A loader that records the commands of each run. */
  function recordedLoader(
    run: (commands: readonly string[]) => Promise<readonly (string | AppError)[]>,
    maxCalls = 100,
  ) {
    const runs: string[][] = []
    const ask = createLoader<string, string>((commands) => {
      runs.push([...commands])
      return run(commands)
    }, maxCalls)
    return { runs, ask }
  }

  it('when a caller is alone, then it does not wait', async () => {
    const { runs, ask } = recordedLoader(done)
    expect(await ask('a')).toBe('a done')
    expect(runs).toEqual([['a']])
  })

  it('when calls come in one turn of the event loop, then one run takes them, in order', async () => {
    const { runs, ask } = recordedLoader(done)
    const early = ['a', 'b'].map(ask)
    const late = Promise.resolve().then(() => ask('c'))
    expect(await outcomes([...early, late])).toEqual(['a done', 'b done', 'c done'])
    expect(runs).toEqual([['a', 'b', 'c']])
  })

  it('when calls come while others are running, then they do not wait for those', async () => {
    const gate = Promise.withResolvers<void>()
    const { runs, ask } = recordedLoader(async (commands) => {
      if (commands.includes('slow')) await gate.promise
      return done(commands)
    })
    const slow = ask('slow')
    await expect.poll(() => runs).toEqual([['slow']])
    expect(await outcomes(['a', 'b'].map(ask))).toEqual(['a done', 'b done'])
    expect(runs).toEqual([['slow'], ['a', 'b']])
    gate.resolve()
    expect(await slow).toBe('slow done')
  })

  it('when one turn has the same call twice, then each caller gets a result', async () => {
    const { runs, ask } = recordedLoader(done)
    expect(await outcomes(['a', 'a'].map(ask))).toEqual(['a done', 'a done'])
    expect(runs).toEqual([['a', 'a']])
  })

  it('when more come than one run may take, then several runs take them in parallel', async () => {
    const gate = Promise.withResolvers<void>()
    const { runs, ask } = recordedLoader(async (commands) => {
      if (commands.includes('a')) await gate.promise
      return done(commands)
    }, 2)
    const [a, b, ...others] = ['a', 'b', 'c', 'd', 'e'].map(ask)
    expect(await outcomes(others)).toEqual(['c done', 'd done', 'e done'])
    expect(runs).toEqual([['a', 'b'], ['c', 'd'], ['e']])
    gate.resolve()
    expect(await Promise.all([a, b])).toEqual(['a done', 'b done'])
  })

  it('when exactly as many come as one run may take, then one run takes them', async () => {
    const { runs, ask } = recordedLoader(done, 2)
    await outcomes(['a', 'b'].map(ask))
    expect(runs).toEqual([['a', 'b']])
  })

  it('when a run fails, then its callers alone get the error, without a retry', async () => {
    const { runs, ask } = recordedLoader(async (commands) => {
      if (commands.includes('b')) throw new Error('no b')
      return done(commands)
    }, 2)
    expect(await outcomes(['a', 'b', 'c'].map(ask))).toEqual(['no b', 'no b', 'c done'])
    expect(runs).toEqual([['a', 'b'], ['c']])
    expect(await ask('d')).toBe('d done')
  })

  it('when a run throws synchronously, then its callers get the error too', async () => {
    const { ask } = recordedLoader(() => {
      throw new Error('at once')
    })
    expect(await outcomes(['a', 'b'].map(ask))).toEqual(['at once', 'at once'])
  })

  it('when a call is refused, then only its caller gets the error', async () => {
    const { ask } = recordedLoader(async (commands) =>
      commands.map((command) =>
        command === 'b' ? new AppError(PLATFORM_ERRORS.not_found, 'No b.') : `${command} done`,
      ),
    )
    expect(await outcomes(['a', 'b', 'c'].map(ask))).toEqual(['a done', 'not_found', 'c done'])
  })

  it('when a run leaves a call without a result, then its caller gets an error', async () => {
    const { ask } = recordedLoader(async () => ['a done'])
    const [a, b] = await outcomes(['a', 'b'].map(ask))
    expect(a).toBe('a done')
    expect(b).toMatch(/without a result/)
  })
})
