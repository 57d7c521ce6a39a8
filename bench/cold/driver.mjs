// Does only what Lambda's runtime does: imports a bundle, gives it one event, and reports when it was answered.
// Times are ns of the machine's monotonic clock, which the parent reads too; cpu is in µs.
import { writeSync } from 'node:fs'

const [, , bundle, event] = process.argv
const began = process.hrtime.bigint()
const { handler } = await import(bundle)
const imported = process.hrtime.bigint()
const response = await handler(JSON.parse(event), {})
const answeredAt = process.hrtime.bigint()
const { user, system } = process.cpuUsage()
writeSync(3, JSON.stringify({ times: [began, imported, answeredAt].map(String), cpu: user + system, response }))
process.exit(0)
