import { z } from 'zod'
import { EnvError } from '../compose/env.ts'
import { withTimeLimit } from '../platform/core/timeout.ts'
import { createAwsClient } from '../platform/rpc/aws.ts'
import type { Fetch } from '../platform/rpc/http-fetch.ts'

type Variables = Readonly<Record<string, string | undefined>>

const MAX_READ_MS = 3_000

const Answer = z.object({ Parameters: z.array(z.object({ Name: z.string(), Value: z.string() })) })

/**
 * The environment with what `SSM_PARAMETERS` names, which is read from SSM: `/b2b-orders/dev/service-token` becomes
 * `SERVICE_TOKEN`. A variable that is set is not asked for.
 * @throws EnvError naming the parameters that are not there
 */
export async function withParameters(variables: Variables, send: Fetch): Promise<Variables> {
  const names = (variables.SSM_PARAMETERS ?? '').split(',').filter((name) => name !== '')
  const wanted = names.filter((name) => !variables[variableOf(name)])
  if (wanted.length === 0) return variables
  const found = await readParameters(wanted, variables, send)
  // With an identity provider, no token is signed here.
  const missing = wanted.filter((name) => !found.has(name) && !(variables.JWKS_URL && name.endsWith('/jwt-secret')))
  if (missing.length > 0) {
    throw new EnvError(missing.map((name) => `${variableOf(name)}: SSM has no parameter ${name}`))
  }
  return { ...variables, ...Object.fromEntries([...found].map(([name, value]) => [variableOf(name), value])) }
}

function variableOf(name: string): string {
  return name
    .slice(name.lastIndexOf('/') + 1)
    .replaceAll('-', '_')
    .toUpperCase()
}

/** The values of those that are there, by their names. @throws Error saying what SSM answered, without a value */
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
