import { rmSync, statSync } from 'node:fs'
import { bundleFunction, copyDocsFiles } from './bundling.ts'

// Each Lambda function becomes one file, .build/<function>/index.mjs; another folder may be named instead of .build.
const FUNCTIONS = ['customers', 'orders', 'orchestrator', 'sweep', 'docs']
const [OUT = '.build'] = process.argv.slice(2)

rmSync(OUT, { recursive: true, force: true })
for (const name of FUNCTIONS) {
  const file = `${OUT}/${name}/index.mjs`
  await bundleFunction(`src/functions/${name}.ts`, file)
  console.log(`${name}  ${Math.round(statSync(file).size / 1024)} KiB`)
}

// Swagger UI's files are the docs function's alone: the others need not carry them.
copyDocsFiles(`${OUT}/docs`)
