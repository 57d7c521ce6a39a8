import { type SpawnOptions, spawn } from 'node:child_process'
import { appendFileSync, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const LAST_WORDS = 4_000

interface Options {
  cwd: string
  env?: Record<string, string>
  limitMs: number
  /** A file that gets all output of the command too. */
  log: string
  signal: AbortSignal
}

/** Runs a command to its end. @returns its output @throws Error with its last lines, unless it ends with 0 in time */
export function execute(command: string, args: readonly string[], options: Options): Promise<string> {
  const { cwd, env, limitMs, log, signal } = options
  const spawning: SpawnOptions = {
    cwd,
    env: { ...process.env, ...env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  }
  const child = spawn(command, args, spawning)
  const line = [command, ...args].join(' ')
  let output = ''
  const hear = (text: string) => {
    output += text
    appendFileSync(log, text)
  }
  appendFileSync(log, `$ ${line}\n`)
  child.stdout?.setEncoding('utf8').on('data', hear)
  child.stderr?.setEncoding('utf8').on('data', hear)
  const end = AbortSignal.any([signal, AbortSignal.timeout(limitMs)])
  const kill = () => killGroup(child.pid)
  end.addEventListener('abort', kill, { once: true })
  return new Promise<string>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) return resolve(output)
      const why = end.aborted ? `did not end within ${limitMs / 1000} s` : `ended with ${code}`
      reject(new Error(`${line}\n${why}:\n${output.slice(-LAST_WORDS)}`))
    })
  }).finally(() => end.removeEventListener('abort', kill))
}

/** Kills a command and all processes that it started. */
function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}

export function isInstalled(command: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, command)))
}
