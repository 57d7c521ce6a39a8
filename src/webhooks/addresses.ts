import { BlockList, type IPVersion, isIP } from 'node:net'

/** A network, such as 10.1.0.0/16. */
export interface Network {
  address: string
  prefix: number
  family: IPVersion
}

/** The prefix of a single address. */
const ADDRESS_BITS = { ipv4: 32, ipv6: 128 }

/**
 * Reads networks in CIDR notation, with commas between them: `10.1.0.0/16, fd00::/8`. An empty text is an empty list.
 * @returns `fault` says what must be changed when one of them can't be read
 */
export function parseNetworks(text: string): { networks: Network[]; fault: string | undefined } {
  const items = text.split(',').map((item) => item.trim())
  const parsed = (text.trim() === '' ? [] : items).map((item) => ({ item, network: parseNetwork(item) }))
  const wrong = parsed.find(({ network }) => network === undefined)
  const fault = wrong && `must be networks such as 10.1.0.0/16,fd00::/8 (one address: 10.1.2.3/32), not "${wrong.item}"`
  return { networks: parsed.flatMap(({ network }) => network ?? []), fault }
}

function parseNetwork(text: string): Network | undefined {
  const [, address = '', prefix = ''] = /^([\da-f:.]+)\/(\d{1,3})$/i.exec(text) ?? []
  const family = familyOf(address)
  if (family === undefined || Number(prefix) > ADDRESS_BITS[family]) return undefined
  return { address, prefix: Number(prefix), family }
}

function familyOf(address: string): IPVersion | undefined {
  const version = isIP(address)
  return version === 0 ? undefined : version === 4 ? 'ipv4' : 'ipv6'
}

/** The part of IPv6 that may be public (RFC 4291). All mapped, translated, local and unassigned addresses are outside. */
const GLOBAL_UNICAST = '2000::/3'

/** Special networks of https://www.iana.org/assignments/iana-ipv4-special-registry and its IPv6 twin. */
const SPECIAL = [
  '0.0.0.0/8', // this network
  '10.0.0.0/8', // private
  '100.64.0.0/10', // carrier-grade NAT
  '127.0.0.0/8', // loopback
  '168.63.129.16/32', // Azure's platform server, which any machine there reaches
  '169.254.0.0/16', // link-local, and the metadata of clouds
  '172.16.0.0/12', // private
  '192.0.0.0/24', // protocol assignments
  '192.0.2.0/24', // documentation
  '192.31.196.0/24', // AS112
  '192.52.193.0/24', // multicast tunnels
  '192.88.99.0/24', // 6to4 relays
  '192.168.0.0/16', // private
  '192.175.48.0/24', // AS112
  '198.18.0.0/15', // benchmarks
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, and broadcast
  '2001::/23', // protocol assignments, such as Teredo
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4
  '2620:4f:8000::/48', // AS112
  '3fff::/20', // documentation
]

const isGlobalUnicast = createNetworkCheck(parseNetworks(GLOBAL_UNICAST).networks)
const isSpecial = createNetworkCheck(parseNetworks(SPECIAL.join()).networks)

export type AddressCheck = (address: string) => boolean

/**
 * Makes a check of whether webhooks may go to an IP address. Only public unicast addresses are allowed.
 * @param opened networks that are allowed too
 */
export function createAddressCheck(opened: readonly Network[]): AddressCheck {
  const isOpened = createNetworkCheck(opened)
  return (address) => {
    // A link-local address may name its interface: fe80::1%eth0.
    const [plain = ''] = address.split('%')
    const family = familyOf(plain)
    return family !== undefined && (isOpened(plain, family) || isPublic(plain, family))
  }
}

function isPublic(address: string, family: IPVersion): boolean {
  return (family === 'ipv4' || isGlobalUnicast(address, family)) && !isSpecial(address, family)
}

/** A list for each family: runtimes disagree on which networks of the other family a mapped address is in. */
function createNetworkCheck(networks: readonly Network[]): (address: string, family: IPVersion) => boolean {
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() }
  for (const { address, prefix, family } of networks) lists[family].addSubnet(address, prefix, family)
  return (address, family) => lists[family].check(address, family)
}
