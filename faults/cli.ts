import { randomInt } from 'node:crypto'
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createProgram } from '../scripts/program.ts'
import { type CrashableServer, HOW_TO_GET_A_SERVER, startCrashableServer } from '../testing/database-server.ts'
import { startGaleraCluster } from '../testing/galera.ts'
import { reportOf } from './report.ts'
import { type Plan, runFaults } from './run.ts'
import { type System, startSystem, startSystemOnCluster } from './system.ts'

const HELP = `Breaks the system while many callers use it. Then compares what they were told with what the database has.

  npm run faults -- [--seconds 60] [--seed N] [--database mysql|sqlite|galera] [--kill-every 60]
                         [--callers 32] [--json] [--keep]

  --seconds     how long the faults last: 10 to 3600
  --seed        decides the faults, their moments and places, keys, orders; default: a random one, which is printed
  --database    mysql: three services on a private MySQL or MariaDB server, which is killed too; sqlite: one process on a
                file; galera: a private cluster of three nodes with one process at each, where the only faults are nodes
                that are killed, one at a time, and join again. Default: mysql
  --kill-every  with galera: seconds from one kill of a node to the next, 10 to 3600; default: 60
  --callers     how many callers work at once, 1 to 200; default: 32
  --json        prints the figures as JSON, for programs
  --keep        keeps the logs of the processes and of the faults; they are always kept when something is wrong

Services are killed (SIGKILL) at random and at chosen steps, and started again. On each proxy between callers, services and
database, connections are cut, half-closed, delayed or silenced, and answers are lost. Ends with 1 when anything was lost,
done twice or answered in two ways, when the books differ, when a hold outlived its time, or when a service did not
recover by itself.`

const MAX_SECONDS = 3_600
const MIN_SECONDS = 10
const MAX_CALLERS = 200

const { endInterrupted, fail, interruption, readOptions, tell } = createProgram(HELP)

const values = readOptions({
  seconds: { type: 'string' },
  seed: { type: 'string' },
  database: { type: 'string' },
  callers: { type: 'string' },
  'kill-every': { type: 'string' },
  json: { type: 'boolean' },
  keep: { type: 'boolean' },
})
if (values.help) console.log(HELP)
else await main(planOf(values), values.json ?? false)

function planOf(options: typeof values): Plan {
  const { seconds = '60', seed, database = 'mysql', callers = '32', 'kill-every': killEvery = '60' } = options
  if (database !== 'mysql' && database !== 'sqlite' && database !== 'galera') return fail(`--database ${database}?`)
  return {
    seconds: wholeOf(seconds, '--seconds', MIN_SECONDS, MAX_SECONDS),
    seed: seed === undefined ? randomInt(1, 1_000_000) : wholeOf(seed, '--seed', 0, 999_999_999),
    target: database,
    callers: wholeOf(callers, '--callers', 1, MAX_CALLERS),
    killEverySeconds: wholeOf(killEvery, '--kill-every', MIN_SECONDS, MAX_SECONDS),
  }
}

function wholeOf(text: string, option: string, least: number, most: number): number {
  const number = Number(text)
  if (!/^\d{1,9}$/.test(text) || number < least || number > most) fail(`${option} ${text}? From ${least} to ${most}.`)
  return number
}

async function main(plan: Plan, json: boolean): Promise<void> {
  tell(`seed ${plan.seed}: ${plan.seconds} s of faults, ${plan.callers} callers, ${plan.target}`)
  const server = plan.target === 'mysql' ? await startServer() : undefined
  const cluster = plan.target === 'galera' ? await startGaleraCluster() : undefined
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-faults-'))
  let system: System | undefined
  let right = false
  try {
    system = cluster ? await startSystemOnCluster(cluster, folder) : await startSystem(server, folder)
    const found = await runFaults(plan, system, (server ?? cluster)?.version ?? 'SQLite', {
      progress: tell,
      note: (line) => appendFileSync(join(folder, 'faults.log'), `${new Date().toISOString()} ${line}\n`),
      signal: interruption,
    })
    right = found.violations.length + found.troubles.length === 0
    console.log(json ? JSON.stringify(found, null, 2) : `\n${reportOf(found)}`)
    if (!right) process.exitCode = 1
  } catch (error) {
    endInterrupted(error)
  } finally {
    await system?.stop()
    await server?.stop()
    await cluster?.stop()
    if (!values.keep && (right || interruption.aborted)) rmSync(folder, { recursive: true, force: true })
    else console.error(`The logs of the processes and of the faults are in ${folder}.`)
  }
}

async function startServer(): Promise<CrashableServer> {
  return (await startCrashableServer({ durable: true })) ?? fail(HOW_TO_GET_A_SERVER)
}
