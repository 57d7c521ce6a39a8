import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { Variables } from '../../testing/fixture.ts'
import { BINARIES, type Program, ROOT, startCommand, until, within } from '../../testing/programs.ts'

vi.setConfig({ testTimeout: 60_000 })

/** A stand-in for `npm ci`: a folder for each package of the lockfile. With HOLD it waits midway for that file. */
const NPM = `#!${process.execPath}
import { appendFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
const args = process.argv.slice(2)
appendFileSync(process.env.CALLS, args.join(' ') + '\\n')
const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'))
const paths = Object.keys(packages).filter((path) => path !== '')
for (const path of paths.slice(0, 9)) mkdirSync(path, { recursive: true })
if (process.env.FAIL) process.exit(1)
const finish = () => {
  if (process.env.HOLD && !existsSync(process.env.HOLD)) return setTimeout(finish, 20)
  for (const path of paths) {
    mkdirSync(path, { recursive: true })
    writeFileSync(path + '/package.json', '{}')
  }
  mkdirSync('node_modules/.bin', { recursive: true })
  symlinkSync(process.execPath, 'node_modules/.bin/node')
  writeFileSync('node_modules/.package-lock.json', JSON.stringify({ packages }))
}
finish()
`

/** A fresh clone with a stand-in npm first on the path. */
function newClone() {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-clone-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  for (const file of ['package.json', 'package-lock.json', 'scripts/install.mjs']) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    cpSync(join(ROOT, file), join(folder, file))
  }
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  writeFileSync(join(bin, 'npm'), NPM, { mode: 0o755 })
  const calls = join(folder, 'calls')
  writeFileSync(calls, '')
  return {
    folder,
    install: (script = 'start', variables: Variables = {}) => installIn(folder, script, variables),
    /** The arguments of each start of npm. */
    npm: () => readFileSync(calls, 'utf8').split('\n').slice(0, -1),
    lockfile: () => JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')),
    has: (path: string) => existsSync(join(folder, path)),
    /** Files of an install outside of node_modules. */
    leftovers: () => readdirSync(folder).filter((name) => name.startsWith('.installing')),
  }
}

/**
 * Runs with the Node of the machine that comes first on the path without the project's own, as right after `git
 * clone`.
 */
function installIn(folder: string, script: string, variables: Variables): Program {
  const others = (process.env.PATH ?? '').split(delimiter).filter((path) => path !== BINARIES)
  const PATH = [join(folder, 'bin'), ...others, dirname(process.execPath)].join(delimiter)
  const own = { PATH, CALLS: join(folder, 'calls'), npm_lifecycle_event: `pre${script}`, ...variables }
  return startCommand('/usr/bin/env', ['node', join(folder, 'scripts/install.mjs')], own)
}

function ended({ ended, stderr }: Program) {
  return within(ended, () => `it did not end\n${stderr()}`)
}

function started(clone: ReturnType<typeof newClone>, count: number) {
  return until(
    () => (clone.npm().length === count ? true : undefined),
    () => `npm was started ${clone.npm().length} times`,
  )
}

it('when nothing is installed, then npm ci runs once, and the next run needs none', async () => {
  const clone = newClone()
  const { code, stderr } = await ended(clone.install())
  expect(code).toBe(0)
  expect(stderr).toMatch(/^Installing the packages of package-lock\.json, once …\n(.*\n)*Installed in \d+ s\.\n$/)
  expect(clone.npm()).toEqual([expect.stringMatching(/^ci --include=dev /)])
  expect(clone.has('node_modules/hono/package.json')).toBe(true)
  expect(await ended(clone.install())).toMatchObject({ code: 0, stdout: '', stderr: '' })
  expect(clone.npm()).toHaveLength(1)
  expect(clone.leftovers()).toEqual([])
})

it.each(['SIGINT', 'SIGTERM'] as const)(
  'when %s ends an install half-way, then the next one is whole',
  async (signal) => {
    const clone = newClone()
    const first = clone.install('start', { HOLD: join(clone.folder, 'never') })
    await until(
      () => (clone.has('.installing/node_modules') ? true : undefined),
      () => first.stderr(),
    )
    process.kill(first.pid, signal)
    const { code, stderr } = await ended(first)
    expect({ code, stderr }).toMatchObject({ code: 130, stderr: expect.stringContaining('nothing is installed') })
    expect(clone.has('node_modules')).toBe(false)
    expect(clone.leftovers()).toEqual([])
    expect(await ended(clone.install())).toMatchObject({ code: 0 })
    expect(clone.has('node_modules/.bin/node')).toBe(true)
  },
)

it('when another npm ci ended half-way, then its leftovers are replaced', async () => {
  const clone = newClone()
  mkdirSync(join(clone.folder, 'node_modules/half/done'), { recursive: true })
  expect(await ended(clone.install())).toMatchObject({ code: 0 })
  expect(clone.has('node_modules/half')).toBe(false)
  expect(clone.leftovers()).toEqual([])
})

it('when two install at once, then one does, and the other waits for it', async () => {
  const clone = newClone()
  const HOLD = join(clone.folder, 'hold')
  const first = clone.install('start', { HOLD })
  await started(clone, 1)
  const second = clone.install('test', { HOLD })
  await until(
    () => (second.stderr().includes('Waiting for another install') ? true : undefined),
    () => second.stderr(),
  )
  writeFileSync(HOLD, '')
  expect(await ended(first)).toMatchObject({ code: 0 })
  expect(await ended(second)).toMatchObject({ code: 0 })
  expect(clone.npm()).toHaveLength(1)
})

it('when the lockfile has changed, then its packages are installed', async () => {
  const clone = newClone()
  await ended(clone.install())
  const lockfile = clone.lockfile()
  lockfile.packages['node_modules/hono'].version = '99.0.0'
  writeFileSync(join(clone.folder, 'package-lock.json'), JSON.stringify(lockfile))
  const { code, stderr } = await ended(clone.install())
  expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringMatching(/^package-lock\.json has changed/) })
  expect(clone.npm()).toHaveLength(2)
})

it('when npm fails, then the error is shown, and nothing is installed', async () => {
  const clone = newClone()
  const { code, stderr } = await ended(clone.install('start', { FAIL: '1' }))
  expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('npm ci failed') })
  expect(clone.has('node_modules')).toBe(false)
  expect(clone.leftovers()).toEqual([])
})

/** The state that `npm ci --omit=dev` leaves. */
function installProduction(clone: ReturnType<typeof newClone>): void {
  const all: [string, { dev?: boolean }][] = Object.entries(clone.lockfile().packages)
  const packages = Object.fromEntries(all.filter(([path, { dev }]) => path !== '' && !dev))
  mkdirSync(join(clone.folder, 'node_modules'))
  writeFileSync(join(clone.folder, 'node_modules/.package-lock.json'), JSON.stringify({ packages }))
}

it('when a server has only production packages, then development ones are not added', async () => {
  const clone = newClone()
  installProduction(clone)
  const build = await ended(clone.install('build'))
  expect(build).toMatchObject({ code: 1, stdout: '' })
  expect(build.stderr.trim()).toBe(
    'npm run build needs development packages, and these were installed without. Run: npm ci --include=dev',
  )
  const start = await ended(clone.install('start'))
  // The sources run unbundled where the server's own Node supports that.
  const refused = { code: 1, stderr: expect.stringMatching(/^The sources need Node 22\.18 or later, and this is v/) }
  expect([{ code: 0, stderr: '' }, refused]).toContainEqual({ code: start.code, stderr: start.stderr })
  expect(clone.npm()).toEqual([])
})

it('when such a server has another lockfile, then it prints how to install that', async () => {
  const clone = newClone()
  installProduction(clone)
  const lockfile = clone.lockfile()
  lockfile.packages['node_modules/hono'].version = '99.0.0'
  writeFileSync(join(clone.folder, 'package-lock.json'), JSON.stringify(lockfile))
  const { code, stderr } = await ended(clone.install())
  expect({ code, stderr: stderr.trim() }).toEqual({
    code: 1,
    stderr: 'package-lock.json has changed. Run: npm ci --omit=dev',
  })
  expect(clone.npm()).toEqual([])
})
