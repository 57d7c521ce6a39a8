import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { expect, it, onTestFinished, vi } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { openDatabase } from '../../src/platform/database/open.ts'
import { lastPosition } from '../../src/platform/events/feed.ts'
import { numberEvents } from '../../src/platform/events/positions.ts'
import { apiClient } from '../../testing/api-client.ts'
import type { Variables } from '../../testing/fixture.ts'
import {
  addressOf,
  freshDatabase,
  migratedDatabase,
  ROOT,
  runProgram,
  startCommand,
  startProgram,
  within,
} from '../../testing/programs.ts'
import { describeEachEngine } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 120_000 })

const TEXT = readFileSync('docs/operations.md', 'utf8')
const BLOCKS = [...TEXT.matchAll(/```bash\n(.*?)```/gs)].map(([, block]) => block ?? '')

/** The printed block of a step, found by a word that only it has. */
function printed(word: string): string {
  const found = BLOCKS.filter((block) => block.includes(word))
  if (found.length !== 1) throw new Error(`docs/operations.md prints ${found.length} blocks with ${word}`)
  return found[0] ?? ''
}

const STEPS = {
  mysql: { backUp: 'mysqldump --host', restore: 'CREATE DATABASE' },
  sqlite: { backUp: 'npm run backup', restore: 'cp backup.sqlite' },
}

/** A copy of the project folder, so that commands write only there. */
function workFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-restore-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  for (const name of ['package.json', 'package-lock.json', 'src', 'db', 'scripts', 'node_modules']) {
    symlinkSync(join(ROOT, name), join(folder, name))
  }
  return folder
}

/** Runs a printed block unchanged. */
async function pasted(block: string, folder: string, variables: Variables): Promise<string> {
  const program = startCommand('bash', ['-e', '-c', block], variables, folder)
  const { code, stdout, stderr } = await within(program.ended, () => `it did not end\n${block}\n${program.stderr()}`)
  expect({ code, stdout, stderr }).toMatchObject({ code: 0 })
  return stdout
}

async function openFor(variables: Variables) {
  const db = await openDatabase(parseEnv(variables).database)
  onTestFinished(() => db.destroy())
  return db
}

describeEachEngine('the backup section of docs/operations.md', (engine) => {
  it('when it is pasted, then the copy is of the backup, and the live database stays', async () => {
    const live = freshDatabase(engine)
    for (const script of ['migrate', 'seed']) expect((await runProgram(script, live)).code).toBe(0)
    const token = (await runProgram('token', live)).stdout.trim()
    const customers = await addressOf(startProgram('start:customers', { PORT: '0', ...live }))
    const variables = { PORT: '0', CUSTOMERS_API_BASE: customers, ...live }
    const orders = apiClient(await addressOf(startProgram('start:orders', variables)), token)
    const place = async () => {
      const order = { customer_id: 1, items: [{ product_id: 1, qty: 3 }] }
      expect((await orders.post('/orders', order)).status).toBe(201)
    }
    await place()
    const folder = workFolder()
    await pasted(printed(STEPS[engine].backUp), folder, live)
    await place()

    const copy =
      engine === 'mysql' ? { DB_NAME: `${live.DB_NAME}_restored` } : { DB_FILE: join(folder, 'restored.sqlite') }
    const restored = { ...live, ...copy }
    const liveDb = await openFor(live)
    onTestFinished(async () => {
      if (engine === 'mysql') await sql`drop database if exists ${sql.id(restored.DB_NAME ?? '')}`.execute(liveDb)
    })
    expect(await pasted(printed(STEPS[engine].restore), folder, live)).toMatch(/: 4 products, 5 orders.*Balanced\.\n$/s)

    const count = async (of: Variables) => {
      const db = await openFor(of)
      const found = await db.selectFrom('orders').select('id').execute()
      return found.length
    }
    expect({ live: await count(live), restored: await count(restored) }).toEqual({ live: 6, restored: 5 })
    const feedOf = async (of: Variables) => {
      const db = await openFor(of)
      while (!(await numberEvents(db))) {}
      return [await lastPosition(db), (await db.selectFrom('events').select('id').execute()).length]
    }
    const [last = 0] = await feedOf(live)
    expect({ live: await feedOf(live), restored: await feedOf(restored) }).toEqual({
      live: [last, last],
      restored: [last - 1, last - 1],
    })
    expect((await runProgram('audit:books', live)).code).toBe(0)
    // A second run must not overwrite the restored database.
    if (engine === 'mysql') {
      const again = startCommand('bash', ['-e', '-c', printed(STEPS.mysql.restore)], live, folder)
      expect((await again.ended).code).not.toBe(0)
    }
  })
})

it.each([
  [{}, [], '--to is needed.'],
  [{ DB_HOST: '127.0.0.1' }, ['--to', 'copy'], 'For MySQL use mysqldump.'],
  [{ DB_FILE: 'nothing.sqlite' }, ['--to', 'copy'], 'There is no database nothing.sqlite.'],
] as const)('when a backup is asked for with %j %j, then it says: %s', async (variables, args, message) => {
  const { code, stderr } = await runProgram('backup', variables, [...args])
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(message) })
})

it('when the backup file exists already, then it is left unchanged', async () => {
  const live = await migratedDatabase('sqlite')
  const { DB_FILE = '' } = live
  const before = readFileSync(DB_FILE)
  const { code, stderr } = await runProgram('backup', live, ['--to', DB_FILE])
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("can't be made") })
  expect(readFileSync(DB_FILE)).toEqual(before)
})
