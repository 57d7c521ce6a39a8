// The program of the image: runs the service that SERVICE names.
import { extname } from 'node:path'
import { failStart } from '../compose/start-failure.ts'

const SERVICES = ['customers', 'orders', 'orchestrator', 'all']
const { SERVICE = '' } = process.env

if (!SERVICES.includes(SERVICE)) {
  await failStart(`SERVICE: must be one of: ${SERVICES.join(', ')}`)
}
// As a URL, so that the bundler leaves each service in the file of its own.
await import(new URL(`${SERVICE}${extname(import.meta.url)}`, import.meta.url).href)
