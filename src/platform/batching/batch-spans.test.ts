import { expect, it } from 'vitest'
import { recordedTracer } from '../../../testing/recorded-tracer.ts'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import { NO_TELEMETRY } from '../telemetry/telemetry.ts'
import { type BatchRun, createBatcher } from './batcher.ts'
import { createLockMemory } from './lock-memory.ts'

const LIMITS = { maxCommands: 100, maxWeight: 1_000, maxQueued: 100, lockWaitMs: 60_000 }

/** A batcher and the callers of its commands, whose traces are recorded. */
function traced(run: BatchRun<string, string>) {
  const { tracer, ended } = recordedTracer()
  const submit = createBatcher(run, {
    ...LIMITS,
    name: 'do',
    telemetry: { ...NO_TELEMETRY, tracer },
    weightOf: () => 1,
    shareOf: () => 'all',
    rowsOf: () => [],
    locks: createLockMemory(),
  })
  return {
    submit(command: string) {
      const span = tracer.start(command, undefined)
      return submit(command, { correlationId: command, traceparent: span.traceparent, span })
    },
    named: (name: string) => ended().filter((span) => span.name === name),
  }
}

const idsOf = (spans: readonly { context: { spanId: string } }[]) => spans.map(({ context }) => context.spanId)

it('when a batch fails as a whole and is split, then each run has a span, and commands name the last', async () => {
  const { submit, named } = traced(async (commands) => {
    if (commands.includes('bad')) throw new Error('no')
    return commands.map(() => 'done')
  })
  expect(await Promise.allSettled([submit('good'), submit('bad')])).toMatchObject([
    { status: 'fulfilled' },
    { status: 'rejected' },
  ])
  const [whole, ofGood, ofBad, ...more] = named('tests.batch')
  expect(more).toEqual([])
  const [good, bad] = named('tests.do')
  if (!whole || !ofGood || !ofBad || !good || !bad) throw new Error('spans are missing')
  expect(whole.links.map(({ context }) => context.spanId)).toEqual(idsOf([good, bad]))
  expect([whole, ofGood, ofBad].map(({ error }) => error)).toEqual(['failed', undefined, 'failed'])
  expect(good.links.map(({ context }) => context.spanId)).toEqual(idsOf([whole, ofGood]))
  expect(bad.links.map(({ context }) => context.spanId)).toEqual(idsOf([whole, ofBad]))
  expect(good.attributes['b2b.batch.span_id']).toBe(ofGood.context.spanId)
  expect([good, bad].map(({ error }) => error)).toEqual([undefined, 'failed'])
})

it('when a command is refused, then its span says so, and has not failed', async () => {
  const refusal = new AppError(PLATFORM_ERRORS.not_found, 'There is no customer 7.')
  const { submit, named } = traced(async () => [refusal])
  await expect(submit('one')).rejects.toBe(refusal)
  const [command] = named('tests.do')
  expect(command).toMatchObject({ error: undefined, attributes: { 'b2b.refusal': 'not_found' } })
  expect(JSON.stringify(command?.attributes)).not.toContain('customer 7')
})

it('when a command brings no trace, then the run has no span', async () => {
  const { tracer, ended } = recordedTracer()
  const options = { ...LIMITS, name: 'do', telemetry: { ...NO_TELEMETRY, tracer }, locks: createLockMemory() }
  const modes: unknown[] = []
  const submit = createBatcher<string, string>(
    async (commands, mode) => {
      modes.push(mode.span)
      return commands
    },
    { ...options, weightOf: () => 1, shareOf: () => 'all', rowsOf: () => [] },
  )
  await submit('one')
  expect({ modes, ended: ended() }).toEqual({ modes: [undefined], ended: [] })
})
