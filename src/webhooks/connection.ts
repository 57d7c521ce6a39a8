import { once } from 'node:events'
import { connect, isIP, isIPv6, type LookupFunction, type Socket } from 'node:net'
import type { AddressCheck } from './addresses.ts'
import { AttemptFailed } from './attempt-failed.ts'
import { hostOf } from './hosts.ts'

/** How long one address may take to accept a connection, when there is a next one to try. */
const ADDRESS_LIMIT_MS = 2_000

/**
 * Connects to a URL's host, at one of these addresses: they are tried in turn, and no name is resolved. With https, the
 * certificate must be valid for the host, whatever the environment says.
 * @throws AttemptFailed `address_not_allowed`, `tls`; errors of the socket; an AbortError
 */
export async function openConnection(
  url: URL,
  addresses: readonly string[],
  isAllowed: AddressCheck,
  signal: AbortSignal,
): Promise<Socket> {
  const socket = connect({
    host: hostOf(url),
    port: portOf(url),
    // Headers and body are written apart. Otherwise the body would wait until the receiver acknowledges the headers.
    noDelay: true,
    lookup: pinTo(addresses),
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: ADDRESS_LIMIT_MS,
  })
  await untilReady(socket, 'connect', signal)
  // An address may lead to another one: 0.0.0.0 leads to 127.0.0.1.
  if (!isAllowed(socket.remoteAddress ?? '')) {
    socket.destroy()
    throw new AttemptFailed('address_not_allowed', `the connection leads to ${socket.remoteAddress}`)
  }
  return url.protocol === 'https:' ? secure(socket, hostOf(url), signal) : socket
}

/** The port is absent from a URL when it is that of the scheme. */
function portOf({ port, protocol }: URL): number {
  if (port !== '') return Number(port)
  return protocol === 'https:' ? 443 : 80
}

function pinTo(addresses: readonly string[]): LookupFunction {
  const all = addresses.map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }))
  return (_name, _options, callback) => callback(null, all)
}

async function secure(socket: Socket, host: string, signal: AbortSignal): Promise<Socket> {
  const tls = await import('node:tls')
  const name = host.replace(/\.$/, '')
  const secured = tls.connect({
    socket,
    host: name,
    // RFC 6066: an IP address is no server name.
    ...(isIP(name) === 0 && { servername: name }),
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: true,
  })
  return untilReady(secured, 'secureConnect', signal).catch((cause) => {
    socket.destroy()
    throw signal.aborted ? cause : new AttemptFailed('tls', `no TLS connection with ${host}`, { cause })
  })
}

async function untilReady(socket: Socket, event: string, signal: AbortSignal): Promise<Socket> {
  // Later errors reach the request that uses the socket. Without a listener here, they would end the process.
  socket.on('error', () => {})
  try {
    await once(socket, event, { signal })
    return socket
  } catch (error) {
    socket.destroy()
    throw error
  }
}
