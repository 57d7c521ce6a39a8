import { isIP } from 'node:net'
import { untilAborted } from '../platform/core/timeout.ts'
import type { AddressCheck } from './addresses.ts'
import { AttemptFailed } from './attempt-failed.ts'

/** All addresses of a host name. */
export type Lookup = (name: string) => Promise<readonly string[]>

/** Asks the operating system, which also reads /etc/hosts. */
export const lookupAll: Lookup = async (name) => {
  const { lookup } = await import('node:dns/promises')
  return (await lookup(name, { all: true })).map(({ address }) => address)
}

/** The host of a URL: a name, or an IP address without the brackets. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '')
}

/**
 * The addresses of a host. All must be allowed: the owner of a name can give it a public and a private address.
 * @throws AttemptFailed `dns`, `address_not_allowed`; the signal's reason
 */
export async function resolveHost(
  host: string,
  { lookup, isAllowed }: { lookup: Lookup; isAllowed: AddressCheck },
  signal: AbortSignal,
): Promise<readonly string[]> {
  const addresses = isIP(host) === 0 ? await untilAborted(signal, findAll(host, lookup)) : [host]
  if (addresses.every(isAllowed)) return addresses
  throw new AttemptFailed('address_not_allowed', `${host} has the address ${addresses.find((one) => !isAllowed(one))}`)
}

async function findAll(host: string, lookup: Lookup): Promise<readonly string[]> {
  const addresses = await lookup(host).catch((cause) => {
    throw new AttemptFailed('dns', `${host} was not found`, { cause })
  })
  if (addresses.length === 0) throw new AttemptFailed('dns', `${host} has no address`)
  return addresses
}
