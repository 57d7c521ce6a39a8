// What Lambda's runtime does, and no more: imports a bundle, hands it one event, and tells when it was answered.
// Times are of the machine's monotonic clock, in ns, which the program that started this one reads too; cpu is in µs.
import { writeSync } from 'node:fs'

const [, , bundle, event] = process.argv
const began = process.hrtime.bigint()
const { handler } = await import(bundle)
const imported = process.hrtime.bigint()
const answer = await handler(JSON.parse(event), {})
const answered = process.hrtime.bigint()
const { user, system } = process.cpuUsage()
writeSync(3, JSON.stringify({ times: [began, imported, answered].map(String), cpu: user + system, answer }))
process.exit(0)
