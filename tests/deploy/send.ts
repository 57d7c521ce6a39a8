import { parseNetworks } from '../../src/webhooks/addresses.ts'
import { type Attempt, createSender } from '../../src/webhooks/sender.ts'
import { createUrlCheck } from '../../src/webhooks/urls.ts'

// Sends webhooks as its argument says, and prints a line of JSON for each: the sender's tests run it on every runtime.

export interface Sending {
  url: string
  /** The addresses of every host name. Absent: the machine is asked. */
  addresses?: readonly string[]
  networks?: string
  timeoutMs?: number
  body?: string
  /** Only asks whether the URL would be registered. */
  onlyCheck?: boolean
}

export interface Sent extends Partial<Attempt> {
  /** Why the URL would not be registered. */
  refusal: string | null
}

const DEFAULTS = { networks: '127.0.0.0/8', timeoutMs: 5_000, body: '{}', onlyCheck: false }

async function send(sending: Sending): Promise<Sent> {
  const { url, addresses, networks, timeoutMs, body, onlyCheck } = { ...DEFAULTS, ...sending }
  const { networks: allowedNetworks } = parseNetworks(networks)
  const rules = { allowHttp: true, allowedNetworks, ...(addresses && { lookup: async () => addresses }) }
  const refusal = (await createUrlCheck(rules)(url)) ?? null
  if (onlyCheck) return { refusal }
  const { cause, ...attempt } = await createSender({ ...rules, timeoutMs })(url, { headers: {}, body })
  return { ...attempt, refusal, cause: String(cause) }
}

const sendings: Sending[] = JSON.parse(process.argv[2] ?? '[]')
const sent = await Promise.all(sendings.map(send))
for (const one of sent) console.log(JSON.stringify(one))
