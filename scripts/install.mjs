// Runs before every script of package.json and installs the packages of package-lock.json if they are missing, so that
// each script works straight after `git clone`. This file runs on the Node that started npm, everything else on the
// lockfile's package `node`.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MODULES = join(ROOT, 'node_modules')
/** Packages are installed here and then renamed, so that an interrupted install leaves nothing incomplete. */
const STAGE = join(ROOT, '.installing')
const HEARTBEAT_MS = 1_000
const STALE_MS = 15_000
const POLL_MS = 200
const PROGRESS_MS = process.stderr.isTTY ? 500 : 10_000
/** The oldest Node that runs the TypeScript of `src` unchanged. */
const OLDEST_NODE = [22, 18]
const WINDOWS = process.platform === 'win32'

const SCRIPT = (process.env.npm_lifecycle_event ?? '').replace(/^pre/, '')
const locked = readPackages(join(ROOT, 'package-lock.json')) ?? fail('package-lock.json is missing or damaged.')

for (;;) {
  const reason = reasonToInstall()
  if (reason === undefined) break
  if (!lock()) await waitForOther()
  else if (reasonToInstall() === undefined) unlock()
  else await install(reason)
}

/** Why packages must be installed; undefined if they are complete. Exits if they must not be installed. */
function reasonToInstall() {
  const installed = readPackages(join(MODULES, '.package-lock.json'))
  if (installed === undefined) return refuseIfOmitted() ?? 'Installing the packages of package-lock.json, once'
  if (isProductionOnly(installed)) return checkProduction(installed)
  if (differs(installed, needed())) return 'package-lock.json has changed: installing its packages'
  if (!existsSync(join(MODULES, '.bin/node')) && isOlder(OLDEST_NODE)) return 'Installing the package `node`'
  return undefined
}

/** `omit=dev` also counts before the first install: nothing is installed, and a message says what to run. */
function refuseIfOmitted() {
  if (!/\bdev\b/.test(process.env.npm_config_omit ?? '')) return undefined
  return fail('No packages are installed, and npm is set to omit those of development. Run: npm ci --omit=dev')
}

/** A server that installed with `--omit=dev` gets no development packages. A message says what is missing. */
function checkProduction(installed) {
  const production = needed().filter(([, { dev, devOptional }]) => !dev && !devOptional)
  if (differs(installed, production)) fail('package-lock.json has changed. Run: npm ci --omit=dev')
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const command = scripts[SCRIPT] ?? ''
  if (!command.startsWith('node src/')) {
    fail(`npm run ${SCRIPT} needs development packages, and these were installed without. Run: npm ci --include=dev`)
  }
  if (isOlder(OLDEST_NODE)) {
    fail(`The sources need Node ${OLDEST_NODE.join('.')} or later, and this is ${process.version}. The bundles that npm run build
makes in dist/ run on older ones; or install the package \`node\` with: npm ci --include=dev`)
  }
  return undefined
}

function isProductionOnly(installed) {
  return !needed().some(([path, { dev }]) => dev && path in installed)
}

/** The lockfile's packages that every machine needs. Optional packages are only for some machines. */
function needed() {
  return Object.entries(locked).filter(([path, { optional }]) => path !== '' && !optional)
}

function differs(installed, packages) {
  return packages.some(([path, { version, integrity }]) => {
    const own = installed[path]
    return own === undefined || own.version !== version || own.integrity !== integrity
  })
}

function isOlder([major, minor]) {
  const [ownMajor, ownMinor] = process.versions.node.split('.').map(Number)
  return ownMajor < major || (ownMajor === major && ownMinor < minor)
}

function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages
  } catch {
    return undefined
  }
}

/** Takes the lock if it is free: only one process installs at a time. */
function lock() {
  try {
    mkdirSync(STAGE)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    return fail(`The packages can't be installed: ${error.message}`)
  }
}

function unlock() {
  remove(STAGE)
}

async function waitForOther() {
  console.error('Waiting for another install in this folder …')
  for (;;) {
    const age = Date.now() - (statSync(STAGE, { throwIfNoEntry: false })?.mtimeMs ?? Number.NaN)
    if (Number.isNaN(age)) return
    if (age > STALE_MS) return unlock()
    await sleep(POLL_MS)
  }
}

async function install(reason) {
  console.error(`${reason} …`)
  const began = Date.now()
  let npm
  const signal = onInterruption(() => endGroup(npm))
  for (const file of ['package.json', 'package-lock.json', '.npmrc']) {
    if (existsSync(join(ROOT, file))) copyFileSync(join(ROOT, file), join(STAGE, file))
  }
  npm = startNpm()
  const timers = [setInterval(beat, HEARTBEAT_MS), setInterval(() => showProgress(began), PROGRESS_MS)]
  const [code] = await once(npm, 'close').catch((error) => fail(`npm can't be run: ${error.message}`))
  for (const timer of timers) clearInterval(timer)
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  if (signal.received) {
    unlock()
    console.error('Interrupted: nothing is installed. The next run begins anew.')
    process.exit(130)
  }
  if (code !== 0) fail('npm ci failed; its messages are above.', unlock)
  if (!existsSync(join(STAGE, 'node_modules/.bin/node')) && isOlder(OLDEST_NODE)) {
    fail('npm ran no install scripts (its setting ignore-scripts), but the package `node` needs its own.', unlock)
  }
  place()
  console.error(`Installed in ${Math.round((Date.now() - began) / 1000)} s.`)
}

/** npm gets its own process group. Ctrl-C then reaches only this process, which ends the whole group. */
function startNpm() {
  const own = ([name]) => !/^npm_(package|lifecycle)_|^npm_config_(local_prefix|omit)$/.test(name)
  return spawn('npm', ['ci', '--include=dev', '--no-audit', '--no-fund', '--no-progress', '--loglevel=error'], {
    cwd: STAGE,
    env: Object.fromEntries(Object.entries(process.env).filter(own)),
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: WINDOWS,
    detached: !WINDOWS,
  })
}

function onInterruption(act) {
  const signal = { received: false }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(name, () => {
      signal.received = true
      act()
    })
  }
  return signal
}

function endGroup(child) {
  try {
    if (WINDOWS) child.kill()
    else process.kill(-child.pid, 'SIGKILL')
  } catch {
    // The process has already ended.
  }
}

function beat() {
  const now = new Date()
  utimesSync(STAGE, now, now)
}

function showProgress(began) {
  const all = needed()
  const here = all.filter(([path]) => existsSync(join(STAGE, path, 'package.json'))).length
  const what = here < all.length ? `${here} of ${all.length} packages` : 'setting up Node and the other programs'
  const line = `  ${what}, ${Math.round((Date.now() - began) / 1000)} s`
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`)
}

function place() {
  try {
    if (existsSync(MODULES)) renameSync(MODULES, join(STAGE, 'old'))
    renameSync(join(STAGE, 'node_modules'), MODULES)
  } catch (error) {
    fail(`node_modules can't be replaced: ${error.message}. Run: npm ci`, unlock)
  }
  unlock()
}

/** Renames the folder before deleting it, so that its name is free at once even if a process still writes there. */
function remove(folder) {
  const moved = `${folder}-${process.pid}`
  try {
    renameSync(folder, moved)
    rmSync(moved, { recursive: true, force: true, maxRetries: 5 })
  } catch {
    // Another process has already renamed the folder, or still writes into it. The rest of it is no lock.
  }
}

function fail(message, cleanUp = () => {}) {
  cleanUp()
  console.error(message)
  process.exit(1)
}
