import { pino } from 'pino'
import { expect, it, onTestFinished } from 'vitest'
import { newCustomer } from '../../testing/rows.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'
import { hasUnnumbered } from '../platform/events/positions.ts'
import { startJobs } from '../platform/jobs/jobs.ts'
import { feedJob, numberAll } from './keeper.ts'

const logger = pino({ level: 'silent' })

describeEachEngine('the keeper of the feed', (engine) => {
  const system = useSystem(engine)

  async function leaveUnnumbered({ db }: TestSystem): Promise<void> {
    await newCustomer(system)
    expect(await hasUnnumbered(db)).toBe(true)
  }

  const untilNumbered = () => expect.poll(() => hasUnnumbered(system.db), { timeout: 4_000 }).toBe(false)

  it('when events have no position yet, then the job gives it at its start', async () => {
    await leaveUnnumbered(system)
    onTestFinished(startJobs([feedJob(system.db)], logger))
    await untilNumbered()
  })

  it('when this process commits, then its events soon have positions', async () => {
    onTestFinished(startJobs([feedJob(system.db)], logger))
    await untilNumbered()
    await newCustomer(system)
    // Sooner than the job would run by itself.
    await untilNumbered()
  })

  it('when the process stops, then the job leaves the rest to others', async () => {
    await leaveUnnumbered(system)
    await numberAll(system.db, AbortSignal.abort())
    expect(await hasUnnumbered(system.db)).toBe(true)
  })
})
