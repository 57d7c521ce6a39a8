import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { BINARIES, ROOT, sharedCaches } from '../../testing/programs.ts'
import { withoutOwnSettings } from '../../testing/project.ts'

// Every script of package.json, future ones included.

vi.setConfig({ testTimeout: 60_000 })

const LIMIT_MS = 50_000
const INSTALL = 'node scripts/install.mjs'
const all: Record<string, string> = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).scripts
const isHook = (name: string) => name.startsWith('pre') && name.slice(3) in all
const scripts = Object.entries(all).filter(([name]) => !isHook(name))
const ours = scripts.filter(([, command]) => command.startsWith('node '))
/** Third-party programs, each once, write their own help. */
const others = [...new Map(scripts.map((script) => [script[1].split(' ')[0], script])).values()].filter(
  ([, command]) => !command.startsWith('node '),
)

/** Scripts with an exit code other than 1. */
const FAILURES: Record<string, number> = { 'order:find': 2 }

/** An environment in which nothing could run. */
const UNUSABLE = { DB_HOST: '127.0.0.1', DB_PORT: 'none', NODE_ENV: 'production', TEST_DB_HOST: 'nowhere.invalid' }
/** A script that opened this database would create it. */
const DB_FILE = join(tmpdir(), `b2b-orders-${randomUUID()}`, 'b2b.sqlite')

/** Runs a script's command in the project's folder. */
function run(command: string, option: string, own: Record<string, string> = UNUSABLE) {
  const [runtime = '', ...args] = command.split(' ')
  const env = {
    PATH: process.env.PATH,
    HOME: tmpdir(),
    ...sharedCaches(),
    ...withoutOwnSettings(),
    NO_COLOR: '1',
    ...own,
  }
  return new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
    const options = { cwd: ROOT, env, timeout: LIMIT_MS }
    execFile(join(BINARIES, runtime), [...args, option], options, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? error?.signal ?? 0, stdout, stderr }),
    )
  })
}

describe('package.json', () => {
  it('when a script is run right after git clone, then packages are installed first', () => {
    expect(scripts.filter(([name]) => all[`pre${name}`] !== INSTALL).map(([name]) => name)).toEqual([])
  })

  it('when a script is read, then it is one command, so that its options reach it', () => {
    expect(scripts.filter(([, command]) => /[;&|]/.test(command)).map(([name]) => name)).toEqual([])
  })
})

describe.concurrent('npm run', () => {
  it.for(ours)(
    'when %s gets --help, then it prints how to call it and does nothing',
    async ([name, command], { expect }) => {
      const { code, stdout, stderr } = await run(command, '--help')
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toMatch(/^[A-Z][^\n]+\n/)
      expect(stdout).toMatch(new RegExp(`^  (.* )?npm (run )?(--silent )?${name}\\b`, 'm'))
    },
  )

  it.for(ours)(
    'when %s gets an unknown option, then it says so, with the help',
    async ([name, command], { expect }) => {
      const { code, stdout, stderr } = await run(command, '--unknown', { DB_FILE, TEST_DB_HOST: 'nowhere.invalid' })
      expect({ code, stdout }).toEqual({ code: FAILURES[name] ?? 1, stdout: '' })
      expect(stderr).toMatch(/Unknown option.*--unknown/)
      expect(stderr).toMatch(new RegExp(`^  (.* )?npm (run )?(--silent )?${name}\\b`, 'm'))
      expect(stderr).not.toMatch(/^\s+at /m)
      expect(existsSync(DB_FILE)).toBe(false)
    },
  )

  it.for(others)('when %s gets --help, then it ends with 0', async ([, command], { expect }) => {
    const { code, stdout } = await run(command, '--help')
    expect(code).toBe(0)
    expect(stdout).not.toBe('')
  })

  it.for(others)('when %s gets an unknown option, then it is refused', async ([, command], { expect }) => {
    const { code, stdout, stderr } = await run(command, '--unknown')
    expect(code).not.toBe(0)
    expect(`${stdout}${stderr}`).toContain('--unknown')
  })
})
