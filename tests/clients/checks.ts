import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SERVICES, type ServiceName } from '../../testing/openapi.ts'
import type { Services } from './services.ts'
import type { Execute, Tools } from './tools.ts'

const HERE = fileURLToPath(new URL('.', import.meta.url))
/** Ends a command that hangs; every command takes far less. */
const LIMIT_MS = 240_000
const CLIENT = { CLIENT_ID: 'demo', CLIENT_SECRET: 'demo-secret' }
/** The number of lines that every flow prints. */
const STEPS = 9

export interface Fixture {
  tools: Tools
  execute: Execute
  services: Services
  /** Starts services for this check alone, on each engine that this machine has. */
  engines: { engine: string; start(): Promise<Services> }[]
  /** A folder for this check alone. */
  work: string
}

export interface Check {
  name: string
  about: string
  /** Commands that must be installed. */
  needs: string[]
  /** @returns what was found @throws Error with what is wrong */
  run(fixture: Fixture): Promise<string>
}

/** The longest come first, so that two lanes end at about the same time. */
export const CHECKS: Check[] = [
  {
    name: 'schemathesis',
    about: 'Schemathesis on every engine',
    needs: ['python3'],
    run: checkSchemathesis,
  },
  { name: 'java', about: "openapi-generator's java (native)", needs: ['java', 'javac', 'mvn'], run: checkJava },
  { name: 'python', about: "openapi-generator's python", needs: ['java', 'mvn', 'python3'], run: checkPython },
  {
    name: 'typescript-fetch',
    about: "openapi-generator's typescript-fetch",
    needs: ['java', 'mvn'],
    run: checkTypescriptFetch,
  },
  { name: 'openapi-typescript', about: 'openapi-typescript and openapi-fetch', needs: [], run: checkOpenapiTypescript },
  { name: 'go', about: 'oapi-codegen', needs: ['go'], run: checkGo },
  { name: 'postman', about: 'openapi-to-postmanv2 and newman', needs: [], run: checkPostman },
]

async function checkJava(fixture: Fixture): Promise<string> {
  const { execute, tools, work } = fixture
  for (const service of SERVICES) {
    const name = `com.example.${service}`
    const packages = ['--invoker-package', name, '--api-package', `${name}.api`, '--model-package', `${name}.model`]
    await generate(fixture, 'java', service, ['--library', 'native', ...packages])
  }
  copyFileSync(join(HERE, 'java', 'Flow.java'), join(work, 'Flow.java'))
  const jars = await tools.java()
  const libraries = readdirSync(jars).filter((file) => file.endsWith('.jar') && !file.startsWith('openapi-generator'))
  const classpath = ['classes', ...libraries.map((file) => join(jars, file))].join(delimiter)
  const sources = SERVICES.map((service) => join(service, 'src', 'main', 'java')).join(delimiter)
  const compile = ['-nowarn', '-d', 'classes', '-cp', classpath, '-sourcepath', sources, 'Flow.java']
  await execute('javac', compile, { cwd: work, limitMs: LIMIT_MS })
  return runFlow(fixture, 'java', ['-cp', classpath, 'Flow'])
}

async function checkPython(fixture: Fixture): Promise<string> {
  const { tools, work } = fixture
  for (const service of SERVICES) await generate(fixture, 'python', service, ['--package-name', `b2b_${service}`])
  const python = join(await tools.python(), 'venv/bin/python')
  const PYTHONPATH = SERVICES.map((service) => join(work, service)).join(delimiter)
  return runFlow(fixture, python, [join(HERE, 'python', 'flow.py')], { PYTHONPATH })
}

async function checkTypescriptFetch(fixture: Fixture): Promise<string> {
  for (const service of SERVICES) {
    await generate(fixture, 'typescript-fetch', service, ['--additional-properties', 'importFileExtension=.js'])
  }
  return runTypescript(fixture, 'typescript-fetch')
}

async function checkOpenapiTypescript(fixture: Fixture): Promise<string> {
  const { execute, services, tools, work } = fixture
  const command = join(await tools.node(), 'node_modules/.bin/openapi-typescript')
  for (const service of SERVICES) {
    const args = [documentOf(services, service), '-o', `${service}.ts`]
    await execute(command, args, { cwd: work, limitMs: LIMIT_MS })
  }
  return runTypescript(fixture, 'openapi-typescript')
}

async function runTypescript(fixture: Fixture, name: string): Promise<string> {
  const { execute, tools, work } = fixture
  const node = await tools.node()
  symlinkSync(join(node, 'node_modules'), join(work, 'node_modules'))
  copyFileSync(join(node, 'package.json'), join(work, 'package.json'))
  for (const file of ['flow.ts', 'tsconfig.json']) copyFileSync(join(HERE, name, file), join(work, file))
  await execute('node_modules/.bin/tsc', ['-p', '.'], { cwd: work, limitMs: LIMIT_MS })
  return runFlow(fixture, process.execPath, ['flow.js'])
}

async function checkGo(fixture: Fixture): Promise<string> {
  const { execute, services, work } = fixture
  cpSync(join(HERE, 'go'), work, { recursive: true })
  const go = (...args: string[]) => execute('go', args, { cwd: work, limitMs: LIMIT_MS })
  for (const service of SERVICES) {
    mkdirSync(join(work, service))
    const options = ['-generate', 'types,client', '-package', service, '-o', join(service, 'client.gen.go')]
    await go('tool', 'oapi-codegen', ...options, documentOf(services, service))
  }
  await go('build', '-o', 'flow', '.')
  return runFlow(fixture, join(work, 'flow'), [])
}

/** Runs openapi-generator on one document, as an integrator would. */
async function generate(fixture: Fixture, generator: string, service: ServiceName, options: string[]): Promise<void> {
  const { execute, services, tools, work } = fixture
  const jars = await tools.java()
  const jar = join(jars, readdirSync(jars).find((file) => file.startsWith('openapi-generator-cli')) ?? '')
  const document = documentOf(services, service)
  // The JVM runs for two seconds: optimized compilation would take longer.
  const args = [
    '-XX:TieredStopAtLevel=1',
    '-jar',
    jar,
    'generate',
    '-i',
    document,
    '-g',
    generator,
    '-o',
    service,
    ...options,
  ]
  await execute('java', args, { cwd: work, limitMs: LIMIT_MS })
}

async function runFlow(
  fixture: Fixture,
  command: string,
  args: string[],
  more?: Record<string, string>,
): Promise<string> {
  const { customers, orders, orchestrator } = fixture.services.urls
  const env = { ...CLIENT, CUSTOMERS_URL: customers, ORDERS_URL: orders, ORCHESTRATOR_URL: orchestrator, ...more }
  const output = await fixture.execute(command, args, { cwd: fixture.work, limitMs: LIMIT_MS, env })
  const steps = output.split('\n').filter((line) => line.startsWith('ok: ')).length
  if (steps !== STEPS) throw new Error(`The flow told of ${steps} steps, not of ${STEPS}:\n${output}`)
  return `the flow's ${steps} steps`
}

interface Executed {
  item: { name: string }
  request: { method: string; url: { path: string[] } }
  response?: { code: number; stream?: { data: number[] } }
}

/** These depend on the state of the rows, which the order of a collection determines, not on the request. */
const REFUSED_BY_STATE = [304, 404, 409, 412, 422]

async function checkPostman({ execute, services, tools, work }: Fixture): Promise<string> {
  const binaries = join(await tools.node(), 'node_modules/.bin')
  const token = await tokenOf(services)
  const faults: string[] = []
  let requests = 0
  for (const service of SERVICES) {
    const collection = `${service}.postman.json`
    const report = join(work, `${service}.report.json`)
    const convert = ['-s', documentOf(services, service), '-o', collection, '-O', 'parametersResolution=Example']
    await execute(join(binaries, 'openapi2postmanv2'), convert, { cwd: work, limitMs: LIMIT_MS })
    const variables = {
      baseUrl: services.urls[service],
      bearerToken: token,
      basicAuthUsername: CLIENT.CLIENT_ID,
      basicAuthPassword: CLIENT.CLIENT_SECRET,
    }
    const options = Object.entries(variables).flatMap(([name, value]) => ['--env-var', `${name}=${value}`])
    const reporter = ['--reporters', 'json', '--reporter-json-export', report]
    const run = ['run', collection, ...options, ...reporter, '--timeout-request', '10000']
    await execute(join(binaries, 'newman'), run, { cwd: work, limitMs: LIMIT_MS })
    const { executions }: { executions: Executed[] } = JSON.parse(readFileSync(report, 'utf8')).run
    requests += executions.length
    faults.push(...executions.flatMap(faultOf).map((fault) => `${service}: ${fault}`))
  }
  if (requests === 0) throw new Error('The collections had no requests.')
  if (faults.length > 0) throw new Error(faults.join('\n'))
  return `${requests} requests`
}

function faultOf({ item, request, response }: Executed): string[] {
  const code = response?.code ?? 0
  // Internal routes need the service token, which callers do not have.
  if (request.url.path[0] === 'internal' && code === 401) return []
  if ((code >= 200 && code < 300) || REFUSED_BY_STATE.includes(code)) return []
  const body = Buffer.from(response?.stream?.data ?? []).toString('utf8')
  return [`${request.method} (${item.name}) got ${code}: ${body.slice(0, 500)}`]
}

async function checkSchemathesis({ engines, execute, tools, work }: Fixture): Promise<string> {
  const st = join(await tools.python(), 'venv/bin/st')
  const faults: string[] = []
  for (const { engine, start } of engines) {
    const services = await start()
    const env = {
      TOKEN: await tokenOf(services),
      SERVICE_TOKEN: services.serviceToken,
      PYTHONPATH: join(HERE, 'python'),
    }
    for (const service of SERVICES) {
      const args = ['--config-file', join(HERE, 'schemathesis.toml'), 'run', `${services.urls[service]}/openapi.json`]
      await execute(st, args, { cwd: work, limitMs: LIMIT_MS, env }).catch((error: Error) => {
        faults.push(`${service} on ${engine}: ${error.message}`)
      })
    }
    await services.stop()
  }
  if (faults.length > 0) throw new Error(faults.join('\n'))
  return `${engines.length * SERVICES.length} documents`
}

function documentOf({ documents }: Services, service: ServiceName): string {
  return join(documents, `${service}.json`)
}

async function tokenOf({ urls }: Services): Promise<string> {
  const { CLIENT_ID: client_id, CLIENT_SECRET: client_secret } = CLIENT
  const body = new URLSearchParams({ grant_type: 'client_credentials', client_id, client_secret })
  const response = await fetch(`${urls.orders}/auth/token`, {
    method: 'POST',
    body,
    signal: AbortSignal.timeout(5_000),
  })
  const token: { access_token: string } = await response.json()
  return token.access_token
}
