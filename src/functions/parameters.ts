import { z } from 'zod'
import { EnvError } from '../compose/env.ts'
import { withTimeLimit } from '../platform/core/timeout.ts'
import { createAwsClient } from '../platform/rpc/aws.ts'
import type { Fetch } from '../platform/rpc/http-fetch.ts'

type Variables = Readonly<Record<string, string | undefined>>

const MAX_READ_MS = 3_000

const Answer = z.object({ Parameters: z.array(z.object({ Name: z.string(), Value: z.string() })) })

/** A deployment from before there were webhooks has no keys. */
const OPTIONAL = ['webhook-keys']
/** With an identity provider no token is signed here. */
const OPTIONAL_WITH_PROVIDER = [...OPTIONAL, 'jwt-secret']

/**
 * The environment, completed from SSM: the parameter `/b2b-orders/dev/service-token` in `SSM_PARAMETERS` becomes
 * `SERVICE_TOKEN`. The parameter of a variable that is set is not read.
 * @throws EnvError naming the missing parameters
 */
export async function withParameters(variables: Variables, send: Fetch): Promise<Variables> {
  const names = (variables.SSM_PARAMETERS ?? '').split(',').filter((name) => name !== '')
  const wanted = names.filter((name) => !variables[variableOf(name)])
  if (wanted.length === 0) return variables
  const found = await readParameters(wanted, variables, send)
  const optional = variables.JWKS_URL ? OPTIONAL_WITH_PROVIDER : OPTIONAL
  const missing = wanted.filter((name) => !found.has(name) && !optional.includes(lastPartOf(name)))
  if (missing.length > 0) {
    throw new EnvError(missing.map((name) => `${variableOf(name)}: SSM has no parameter ${name}`))
  }
  return { ...variables, ...Object.fromEntries([...found].map(([name, value]) => [variableOf(name), value])) }
}

function variableOf(name: string): string {
  return lastPartOf(name).replaceAll('-', '_').toUpperCase()
}

function lastPartOf(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1)
}

/** The values of the existing parameters, by name. @throws Error with SSM's response, without any value */
async function readParameters(names: string[], variables: Variables, send: Fetch): Promise<Map<string, string>> {
  const post = createAwsClient('ssm', variables, send)
  const body = JSON.stringify({ Names: names, WithDecryption: true })
  const headers = { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': 'AmazonSSM.GetParameters' }
  const answer = await withTimeLimit(MAX_READ_MS, async (signal) => {
    const response = await post({ path: '/', headers, body, signal })
    return { status: response.status, text: await response.text() }
  }).catch((cause) => {
    throw new Error(`SSM can't be reached for ${names.join(', ')}`, { cause })
  })
  if (answer.status !== 200) throw new Error(`SSM refused ${names.join(', ')}: ${answer.status} ${answer.text}`)
  const { Parameters } = Answer.parse(JSON.parse(answer.text))
  return new Map(Parameters.map(({ Name, Value }) => [Name, Value]))
}
