import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { inflateRawSync } from 'node:zlib'
import { giveCacheTo } from '../scripts/compile-cache.ts'
import type { Variables } from './fixture.ts'
import { ROOT, sharedCaches } from './programs.ts'

/** The files that packing needs, without a developer's `.env` and other tests' builds. */
const SOURCES = ['package.json', 'package-lock.json', 'serverless.yml', 'scripts', 'src']

export interface Resource {
  Type: string
  // biome-ignore lint/suspicious/noExplicitAny: the properties of every kind of resource, and the expectations check them.
  Properties: any
  Condition?: string
  DependsOn?: string[]
}

export interface Template {
  Resources: Record<string, Resource>
  Conditions?: Record<string, { 'Fn::Equals': [string, string] }>
}

export interface Packages {
  /** Every file that packing wrote, by name. */
  files: Record<string, Buffer>
  /** The CloudFormation template of the deployment. */
  template: Template
  /** The output of packing. */
  output: string
}

export interface UnpackedFunction {
  /** The name in serverless.yml. */
  name: string
  folder: string
  /** The handler in the template. */
  handler: string
  /** The variables of the template, except those read from the account. */
  variables: Variables
  /** The parameters that it reads from SSM. */
  parameters: string
}

/** A copy of the project's sources, with its dependencies. */
export function copyProject(): { folder: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-project-'))
  for (const source of SOURCES) cpSync(join(ROOT, source), join(folder, source), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) }
}

/** Everything that the documentation asks of a deployer's environment. */
const DOCUMENTED = { SECRETS_SSM_PATH: '/b2b-orders/dev' }

/** Runs `npm run package` with only these variables: no credentials. */
export async function packFunctions(project: string, variables: Variables = DOCUMENTED): Promise<Packages> {
  const { code, output, out } = await tryToPack(project, variables)
  if (code !== 0) throw new Error(`npm run package ended with ${code}\n${output}`)
  const files = readFolder(out)
  return { files, template: JSON.parse(String(files['cloudformation-template-update-stack.json'])), output }
}

/** The same, but it may fail. */
export async function tryToPack(project: string, variables: Variables) {
  const out = mkdtempSync(join(project, 'out-'))
  const PATH = [join(ROOT, 'node_modules', '.bin'), process.env.PATH].join(delimiter)
  const npm = spawn('npm', ['run', 'package', '--', '--package', out], {
    cwd: project,
    env: { PATH, HOME: project, ...sharedCaches(), ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [npm.stdout, npm.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  const code = await new Promise((resolve, reject) => npm.once('error', reject).once('close', resolve))
  return { code, output, out }
}

function readFolder(folder: string): Record<string, Buffer> {
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]))
}

/**
 * Unpacks a function into an empty folder, from which only its own packages resolve. V8's cache is given to the user
 * that starts it here.
 */
export function unpack({ files, template }: Packages, name: string): UnpackedFunction {
  const folder = mkdtempSync(join(tmpdir(), `b2b-orders-function-${name}-`))
  for (const [path, bytes] of Object.entries(readZip(files[`${name}.zip`] ?? Buffer.alloc(0)))) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), bytes)
  }
  const { Handler, Environment } = resourceOf(template, name).Properties
  giveCacheTo(process.getuid?.() ?? 0, join(folder, dirname(Handler), 'cache'))
  const { SSM_PARAMETERS = '', ...variables }: Record<string, string> = Environment.Variables
  return { name, folder, handler: Handler, variables, parameters: SSM_PARAMETERS }
}

export function resourceOf(template: Template, functionName: string): Resource {
  const id = `${functionName.charAt(0).toUpperCase()}${functionName.slice(1)}LambdaFunction`
  const resource = template.Resources[id]
  if (resource === undefined) throw new Error(`the template has no ${id}`)
  return resource
}

const END_OF_DIRECTORY = 0x06054b50
const STORED = 0

/** The files of a zip archive by path, without folders. */
export function readZip(zip: Buffer): Record<string, Buffer> {
  let end = zip.length - 22
  while (zip.readUInt32LE(end) !== END_OF_DIRECTORY) end--
  const count = zip.readUInt16LE(end + 10)
  const files: Record<string, Buffer> = {}
  for (let i = 0, at = zip.readUInt32LE(end + 16); i < count; i++) {
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) => zip.readUInt16LE(at + offset)) as [
      number,
      number,
      number,
    ]
    const name = zip.toString('utf8', at + 46, at + 46 + nameLength)
    const local = zip.readUInt32LE(at + 42)
    const begin = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28)
    const packed = zip.subarray(begin, begin + zip.readUInt32LE(at + 20))
    if (!name.endsWith('/')) files[name] = zip.readUInt16LE(at + 10) === STORED ? packed : inflateRawSync(packed)
    at += 46 + nameLength + extraLength + commentLength
  }
  return files
}
