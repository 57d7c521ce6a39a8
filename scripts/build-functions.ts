import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { bundleExporter, bundleFunction, copyDocsFiles } from './bundling.ts'
import { addCompileCache } from './compile-cache.ts'
import { createProgram } from './program.ts'

const HELP = `Bundles every Lambda function into one file, <folder>/<function>/app.mjs, with V8's cache of it for this version of Node
and a small index.mjs that loads both. With OTEL_EXPORTER_OTLP_ENDPOINT, those that send traces get otlp.mjs too. What
was in the folder goes.

  npm run build:functions [-- folder]

  folder  absent: .build`

const FUNCTIONS = ['customers', 'orders', 'orchestrator', 'sweep', 'events', 'docs']
const TRACED = process.env.OTEL_EXPORTER_OTLP_ENDPOINT ? ['customers', 'orders', 'orchestrator', 'events'] : []

const { fail } = createProgram(HELP)
const OUT = readFolder()
if (existsSync(OUT) && readdirSync(OUT).some((name) => !FUNCTIONS.includes(name))) {
  fail(`${OUT} holds something else than functions, which would be removed.`)
}

rmSync(OUT, { recursive: true, force: true })
for (const name of FUNCTIONS) {
  const file = `${OUT}/${name}/app.mjs`
  await bundleFunction(`src/functions/${name}.ts`, file)
  if (TRACED.includes(name)) await bundleExporter(`${OUT}/${name}/otlp.mjs`)
  addCompileCache(resolve(OUT, name))
  console.log(`${name}  ${Math.round(statSync(file).size / 1024)} KiB`)
}

// Only the docs function needs Swagger UI's files.
copyDocsFiles(`${OUT}/docs`)

function readFolder(): string {
  try {
    const options = { help: { type: 'boolean', short: 'h' } } as const
    const { values, positionals } = parseArgs({ options, allowPositionals: true })
    if (values.help) {
      console.log(HELP)
      process.exit(0)
    }
    const [folder = '.build', ...others] = positionals
    return others.length > 0 ? fail(`One folder at most, not ${positionals.join(', ')}.`) : folder
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error))
  }
}
