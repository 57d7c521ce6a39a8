import { withTimeLimit } from '../platform/core/timeout.ts'
import { createAddressCheck, type Network } from './addresses.ts'
import { AttemptFailed } from './attempt-failed.ts'
import { hostOf, type Lookup, lookupAll, resolveHost } from './hosts.ts'

const LOOKUP_LIMIT_MS = 5_000

/** Where webhooks may go. */
export interface UrlRules {
  /** Allows http:// beside https://. For development. */
  allowHttp: boolean
  /** Networks that are allowed although they are not public. */
  allowedNetworks: readonly Network[]
  lookup?: Lookup
}

/**
 * Makes the check of an endpoint's URL. It gives the reason why webhooks may not go there, or undefined. Each delivery
 * resolves the host again, so a host that passes now may be refused then.
 * @param lookupLimitMs how long the host may take to resolve
 */
export function createUrlCheck(
  { allowHttp, allowedNetworks, lookup = lookupAll }: UrlRules,
  lookupLimitMs = LOOKUP_LIMIT_MS,
): (text: string) => Promise<string | undefined> {
  const isAllowed = createAddressCheck(allowedNetworks)
  return async (text) => {
    const url = readUrl(text, allowHttp)
    if (typeof url === 'string') return url
    const host = hostOf(url)
    const resolve = (signal: AbortSignal) => resolveHost(host, { lookup, isAllowed }, signal)
    return withTimeLimit(lookupLimitMs, resolve).then(
      () => undefined,
      (error) => hostFault(host, error),
    )
  }
}

/** The URL, or what is wrong with it before its host is resolved. */
export function readUrl(text: string, allowHttp: boolean): URL | string {
  if (!URL.canParse(text)) return 'The URL cannot be read.'
  const url = new URL(text)
  if (url.protocol !== 'https:' && !(allowHttp && url.protocol === 'http:')) {
    return allowHttp ? 'The URL must begin with https:// or http://.' : 'The URL must begin with https://.'
  }
  if (url.username !== '' || url.password !== '') return 'The URL must not contain a user name or a password.'
  return url.href.includes('#') ? 'The URL must not contain a fragment (#).' : url
}

function hostFault(host: string, error: unknown): string {
  const isForbidden = error instanceof AttemptFailed && error.code === 'address_not_allowed'
  return isForbidden
    ? `The host ${host} has an address that is not public.`
    : `The host ${host} has no address, or its name server does not answer.`
}
