import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createProgram } from '../../scripts/program.ts'
import { type DatabaseServer, HOW_TO_GET_A_SERVER, startDatabaseServer } from '../../testing/database-server.ts'
import { CHECKS, type Check, type Fixture } from './checks.ts'
import { execute, isInstalled } from './commands.ts'
import { type Services, startServices } from './services.ts'
import { CACHE, createTools, type Execute } from './tools.ts'

const NAMES = CHECKS.map(({ name }) => name)
const HELP = `Shows that other people's tools can use the OpenAPI documents: clients are generated, compiled, and run the whole
flow against the services, with totals past 2^32; the Postman collection is run, and Schemathesis.

  npm run test:clients -- [--only ${NAMES.join(',')}] [--keep]

  --only  some of the checks, separated by commas; absent, all of them
${CHECKS.map(({ name, about }) => `          ${name.padEnd(20)}${about}`).join('\n')}
  --keep  keeps what was generated and logged; it is kept in any case when something is wrong

The tools come from Maven Central, PyPI, npm and the Go module proxy, in the versions that tests/clients names, and are
kept in .cache/clients: minutes the first time, then some two minutes a run. Needs Java 17, Maven, Python 3, Go, and
MariaDB or MySQL: what is not there is left out and said, and with CI=true it is a failure. Ends with 1 on any failure.`

/** The machine has two cores, and each generator keeps one busy. */
const LANES = 2

const { endInterrupted, fail, interruption, readOptions, tell } = createProgram(HELP)
const inCi = process.env.CI === 'true'

const values = readOptions({ only: { type: 'string' }, keep: { type: 'boolean' } })
if (values.help) console.log(HELP)
else await main(chosen(values.only))

function chosen(only: string | undefined): Check[] {
  if (only === undefined) return CHECKS
  const names = only.split(',')
  const unknown = names.filter((name) => !NAMES.includes(name))
  if (unknown.length > 0) fail(`--only ${unknown.join(',')}? There are: ${NAMES.join(', ')}.`)
  return CHECKS.filter(({ name }) => names.includes(name))
}

interface Outcome {
  name: string
  state: 'passed' | 'failed' | 'skipped'
  detail: string
  seconds: number
}

async function main(checks: Check[]): Promise<void> {
  mkdirSync(CACHE, { recursive: true })
  const folder = mkdtempSync(join(CACHE, 'run-'))
  const outcomes: Outcome[] = []
  let server: DatabaseServer | undefined
  let services: Services | undefined
  try {
    server = await startDatabaseServer()
    if (server === undefined) outcomes.push(lacking('mysql', HOW_TO_GET_A_SERVER))
    services = await startServices(server, join(folder, 'services'), interruption)
    tell(`the services run, on ${server?.version ?? 'SQLite'}`)
    const tools = createTools(executeIn(join(folder, 'install.log')))
    const shared = { tools, services, engines: enginesOf(server, folder) }
    await inLanes(checks, async (check) => {
      const work = join(folder, check.name)
      mkdirSync(work)
      const outcome = await outcomeOf(check, { ...shared, work, execute: executeIn(join(work, 'commands.log')) })
      tell(`${check.name}: ${outcome.state}`)
      outcomes.push(outcome)
    })
  } catch (error) {
    if (!interruption.aborted) outcomes.push({ name: 'services', state: 'failed', detail: tokenize(error), seconds: 0 })
    else endInterrupted(error)
  } finally {
    await services?.stop()
    await server?.stop()
    conclude(outcomes, folder)
  }
}

function enginesOf(server: DatabaseServer | undefined, folder: string): Fixture['engines'] {
  const servers = server === undefined ? [undefined] : [undefined, server]
  return servers.map((its) => {
    const engine = its === undefined ? 'sqlite' : 'mysql'
    return { engine, start: () => startServices(its, join(folder, `services-${engine}`), interruption) }
  })
}

async function inLanes(checks: Check[], run: (check: Check) => Promise<void>): Promise<void> {
  const waiting = [...checks]
  const lane = async () => {
    for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) await run(check)
  }
  await Promise.all(Array.from({ length: LANES }, lane))
}

function executeIn(log: string): Execute {
  return (command, args, options) => execute(command, args, { ...options, log, signal: interruption })
}

async function outcomeOf(check: Check, fixture: Fixture): Promise<Outcome> {
  const missing = check.needs.filter((command) => !isInstalled(command))
  if (missing.length > 0) return lacking(check.name, `This machine has no ${missing.join(', no ')}.`)
  tell(`${check.name}: ${check.about} …`)
  const began = performance.now()
  const secondsSince = () => Math.round((performance.now() - began) / 1000)
  try {
    const detail = await check.run(fixture)
    return { name: check.name, state: 'passed', detail, seconds: secondsSince() }
  } catch (error) {
    interruption.throwIfAborted()
    return { name: check.name, state: 'failed', detail: tokenize(error), seconds: secondsSince() }
  }
}

function tokenize(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function lacking(name: string, detail: string): Outcome {
  return { name, state: inCi ? 'failed' : 'skipped', detail, seconds: 0 }
}

/** Prints the outcome and where the logs are. */
function conclude(outcomes: Outcome[], folder: string): void {
  const failed = outcomes.filter(({ state }) => state === 'failed')
  for (const { name, state, detail, seconds } of outcomes) {
    console.log(`${state.padEnd(8)} ${name.padEnd(20)} ${String(seconds).padStart(4)} s  ${detail}`)
  }
  if (failed.length > 0) process.exitCode = 1
  if (failed.length > 0 || values.keep) console.log(`What was generated and logged is in ${folder}.`)
  else rmSync(folder, { recursive: true, force: true })
  const count = (wanted: string) => outcomes.filter(({ state }) => state === wanted).length
  console.log(`${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`)
}
