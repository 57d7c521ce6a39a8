import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const HERE = fileURLToPath(new URL('.', import.meta.url))
/** Kept from run to run, and never committed. */
export const CACHE = fileURLToPath(new URL('../../.cache/clients', import.meta.url))
const INSTALL_LIMIT_MS = 300_000

/** Runs a command in a folder. @returns its output @throws Error unless it ends with 0 in time */
export type Execute = (
  command: string,
  args: readonly string[],
  options: { cwd: string; limitMs: number; env?: Record<string, string> },
) => Promise<string>

/** Each installs its tools once, in pinned versions, and returns their folder. */
export interface Tools {
  /** The jars of Maven Central: openapi-generator and the dependencies of its Java code. */
  java(): Promise<string>
  /** A virtual environment: Schemathesis and the dependencies of generated Python. */
  python(): Promise<string>
  /** The npm packages. */
  node(): Promise<string>
}

interface Tool {
  /** The files that pin the versions. They are copied to the folder of the tools. */
  files: string[]
  /** The commands to run there, in order. */
  commands: [string, ...string[]][]
}

const JAVA: Tool = {
  files: ['pom.xml'],
  commands: [
    [
      'mvn',
      '--quiet',
      '--batch-mode',
      'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies',
      '-DoutputDirectory=.',
    ],
  ],
}

const PYTHON: Tool = {
  files: ['requirements.txt'],
  commands: [
    ['python3', '-m', 'venv', 'venv'],
    ['venv/bin/pip', 'install', '--quiet', '--only-binary=:all:', '-r', 'requirements.txt'],
  ],
}

const NODE: Tool = {
  files: ['package.json', 'package-lock.json'],
  commands: [['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']],
}

export function createTools(execute: Execute): Tools {
  return {
    java: once(() => install('java', JAVA, execute)),
    python: once(() => install('python', PYTHON, execute)),
    node: once(() => install('node', NODE, execute)),
  }
}

function once(work: () => Promise<string>): () => Promise<string> {
  let running: Promise<string> | undefined
  return () => {
    running ??= work()
    return running
  }
}

async function install(name: string, { files, commands }: Tool, execute: Execute): Promise<string> {
  const hash = createHash('sha256')
  for (const file of files) hash.update(readFileSync(join(HERE, name, file)))
  const folder = join(CACHE, `${name}-${hash.digest('hex').slice(0, 12)}`)
  const stamp = join(folder, '.installed')
  if (existsSync(stamp)) return folder
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const file of files) copyFileSync(join(HERE, name, file), join(folder, file))
  for (const [command, ...args] of commands) {
    const run = () => execute(command, args, { cwd: folder, limitMs: INSTALL_LIMIT_MS })
    // A registry may fail for a moment.
    await run().catch(run)
  }
  writeFileSync(stamp, '')
  return folder
}
