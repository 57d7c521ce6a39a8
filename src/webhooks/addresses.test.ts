import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import { describe, expect, it } from 'vitest'
import { NO_ADDRESSES, PUBLIC_ADDRESSES, SPECIAL_ADDRESSES } from '../../testing/addresses.ts'
import { createAddressCheck, parseNetworks } from './addresses.ts'

function checkWith(networks: string) {
  return createAddressCheck(parseNetworks(networks).networks)
}

describe('an address', () => {
  const isAllowed = checkWith('')

  it.each(SPECIAL_ADDRESSES)('when it is %s, then it is refused', (address) => {
    expect(isAllowed(address)).toBe(false)
  })

  it.each(PUBLIC_ADDRESSES)('when it is %s, then it is allowed', (address) => {
    expect(isAllowed(address)).toBe(true)
  })

  it.each(NO_ADDRESSES)('when it is "%s", which is no address, then it is refused', (text) => {
    expect(isAllowed(text)).toBe(false)
    expect(checkWith('0.0.0.0/0,::/0')(text)).toBe(false)
  })

  it('when it is any IPv4 address, then a library says the same', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        expect(isAllowed(address)).toBe(ipaddr.parse(address).range() === 'unicast')
      }),
      { numRuns: 5_000 },
    )
  })

  it('when it is any IPv6 address that is assigned, then a library says the same', () => {
    const group = fc.nat(0xffff).map((value) => value.toString(16))
    const globals = fc.tuple(
      fc.constantFrom('2000', '2001', '2002', '2620', '3ffe', '3fff'),
      fc.constantFrom('0', '2', '20', 'db8', 'fff'),
    )
    const addresses = fc.tuple(
      fc.oneof(globals, fc.tuple(group, group)),
      fc.array(group, { minLength: 6, maxLength: 6 }),
    )
    fc.assert(
      fc.property(addresses, ([begin, rest]) => {
        const address = [...begin, ...rest].join(':')
        const parsed = ipaddr.parse(address)
        const isAssigned = parsed.kind() === 'ipv6' && parsed.match(ipaddr.parseCIDR('2000::/3'))
        expect(isAllowed(address)).toBe(isAssigned && parsed.range() === 'unicast')
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('an opened network', () => {
  it.each([
    ['10.1.0.0/16', ['10.1.0.0', '10.1.255.255', '8.8.8.8'], ['10.0.255.255', '10.2.0.0', '::ffff:10.1.2.3']],
    ['10.1.2.3/16', ['10.1.0.0', '10.1.255.255'], ['10.2.0.0']],
    ['127.0.0.1/32', ['127.0.0.1'], ['127.0.0.2', '0.0.0.0', '::1', '::127.0.0.1']],
    ['fd00::/8', ['fd00::1', 'fdff::1', '2a00::1'], ['fc00::1', 'fe80::1', '10.0.0.1']],
    ['fe80::/10', ['fe80::1', 'fe80::1%eth0'], ['fec0::1']],
    ['64:ff9b::/96', ['64:ff9b::8.8.8.8', '64:ff9b::10.0.0.1'], ['64:ff9b:1::1', '10.0.0.1']],
    ['10.1.0.0/16, fd00::/8', ['10.1.0.1', 'fd00::1'], ['192.168.0.1']],
    ['0.0.0.0/0', ['127.0.0.1', '255.255.255.255'], ['::1', 'fd00::1']],
    ['::ffff:10.0.0.0/104', ['::ffff:10.1.2.3'], ['::ffff:11.0.0.0', '10.1.2.3']],
    ['::/0', ['::1', 'fd00::1', '64:ff9b::1'], ['127.0.0.1']],
  ])('when it is %s, then only its addresses are allowed too', (networks, allowed, refused) => {
    const isAllowed = checkWith(networks)
    for (const address of allowed) expect({ address, is: isAllowed(address) }).toEqual({ address, is: true })
    for (const address of refused) expect({ address, is: isAllowed(address) }).toEqual({ address, is: false })
  })
})

describe('a list of networks', () => {
  it('when it can be read, then there is no fault', () => {
    expect(parseNetworks(' 10.1.0.0/16 ,fd00::/8')).toEqual({
      networks: [
        { address: '10.1.0.0', prefix: 16, family: 'ipv4' },
        { address: 'fd00::', prefix: 8, family: 'ipv6' },
      ],
      fault: undefined,
    })
    expect(parseNetworks('  ')).toEqual({ networks: [], fault: undefined })
  })

  it.each([
    '10.1.0.0',
    '10.1/16',
    '10.1.0.0/33',
    'fd00::/129',
    '10.1.0.0/',
    '10.1.0.0/-1',
    '10.1.0.0/1e1',
    '10.1.0.0/255.255.0.0',
    '10.1.0.0/16/16',
    '010.1.0.0/16',
    'fe80::1%eth0/64',
    '[fd00::]/8',
    'localhost/8',
    'everything',
    '*',
  ])('when it has %s, then the fault says what is expected', (wrong) => {
    expect(parseNetworks(`10.1.0.0/16,${wrong}`).fault).toBe(
      `must be networks such as 10.1.0.0/16,fd00::/8 (one address: 10.1.2.3/32), not "${wrong}"`,
    )
  })

  it.each(['10.1.0.0/16,', ',', '10.1.0.0/16,,fd00::/8'])('when it is "%s", then it has a fault', (text) => {
    expect(parseNetworks(text).fault).toContain('not ""')
  })
})
