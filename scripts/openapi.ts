import { mkdirSync, writeFileSync } from 'node:fs'
import { SERVICES } from '../testing/openapi.ts'
import { openapiText } from './openapi-text.ts'
import { createProgram } from './program.ts'

const { readNothing } =
  createProgram(`Writes openapi/*.json, the documents of the services as files: for code generators, and for reviews of what changes.

  npm run openapi`)

readNothing()
const folder = new URL('../openapi/', import.meta.url)
mkdirSync(folder, { recursive: true })
for (const service of SERVICES) {
  writeFileSync(new URL(`${service}.json`, folder), await openapiText(service))
  console.log(`Wrote openapi/${service}.json.`)
}
