// The program of the container image. It runs the service that SERVICE names.
import { extname } from 'node:path'
import { failStart } from '../compose/start-failure.ts'

const SERVICES = ['customers', 'orders', 'orchestrator', 'all']
const { SERVICE = '' } = process.env

if (!SERVICES.includes(SERVICE)) {
  await failStart(`SERVICE: must be one of: ${SERVICES.join(', ')}`)
}
// A URL, so that the bundler keeps each service in its own file.
await import(new URL(`${SERVICE}${extname(import.meta.url)}`, import.meta.url).href)
