import { AwsV4Signer } from 'aws4fetch'
import type { Fetch, Fetched } from './http-fetch.ts'

/** Environment variables, of which Lambda sets the AWS credentials and the region. */
type Variables = Readonly<Record<string, string | undefined>>

export interface AwsRequest {
  path: string
  headers: Record<string, string>
  body: string
  signal: AbortSignal
}

/**
 * Posts requests to a service of AWS, signed (Signature Version 4) with the credentials of the environment.
 * `AWS_ENDPOINT_URL_<SERVICE>` sets another address, as for Amazon's own tools.
 * @param send sends the signed requests
 */
export function createAwsClient(service: 'lambda' | 'ssm', variables: Variables, send: Fetch) {
  return async ({ path, headers, body, signal }: AwsRequest): Promise<Fetched> => {
    const { AWS_REGION: region = 'us-east-1' } = variables
    const base = variables[`AWS_ENDPOINT_URL_${service.toUpperCase()}`] ?? endpointOf(service, region)
    const request = { method: 'POST', url: `${base.replace(/\/+$/, '')}${path}`, headers, body }
    const signer = new AwsV4Signer({ ...request, service, region, ...credentialsOf(variables) })
    const signed = await signer.sign()
    return send(request.url, {
      method: 'POST',
      headers: Object.fromEntries(signed.headers),
      redirect: 'manual',
      signal,
      body,
    })
  }
}

/** The domains of AWS other than amazonaws.com, by the prefix of their regions. */
const DOMAINS = {
  'cn-': 'amazonaws.com.cn',
  'eusc-': 'amazonaws.eu',
  'us-iso-': 'c2s.ic.gov',
  'us-isob-': 'sc2s.sgov.gov',
  'us-isof-': 'csp.hci.ic.gov',
  'eu-isoe-': 'cloud.adc-e.uk',
}

function endpointOf(service: string, region: string): string {
  const [, domain = 'amazonaws.com'] = Object.entries(DOMAINS).find(([prefix]) => region.startsWith(prefix)) ?? []
  return `https://${service}.${region}.${domain}`
}

/** @throws Error when the credentials are not set: only Lambda sets them by itself */
function credentialsOf({ AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN }: Variables) {
  if (!AWS_ACCESS_KEY_ID || !AWS_SECRET_ACCESS_KEY) {
    throw new Error('AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set to call a service of AWS')
  }
  return {
    accessKeyId: AWS_ACCESS_KEY_ID,
    secretAccessKey: AWS_SECRET_ACCESS_KEY,
    ...(AWS_SESSION_TOKEN && { sessionToken: AWS_SESSION_TOKEN }),
  }
}
