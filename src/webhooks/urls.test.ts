import { describe, expect, it } from 'vitest'
import { parseNetworks } from './addresses.ts'
import { createUrlCheck } from './urls.ts'

const NOT_PUBLIC = (host: string) => `The host ${host} has an address that is not public.`
const NOT_FOUND = (host: string) => `The host ${host} has no address, or its name server does not answer.`

/** A check for which every name has these addresses. */
function checkWith(addresses: readonly string[], { allowHttp = false, networks = '' } = {}) {
  const rules = { allowHttp, allowedNetworks: parseNetworks(networks).networks, lookup: async () => addresses }
  return createUrlCheck(rules)
}

describe('the form of a URL', () => {
  const check = checkWith(['8.8.8.8'])

  it.each([
    'https://hooks.example',
    'https://hooks.example:8443/a/b?c=d&e=f',
    'HTTPS://HOOKS.EXAMPLE/',
    'https://hooks.example./',
    'https://bücher.example/',
    'https://xn--bcher-kva.example/',
    'https://8.8.8.8/',
    'https://[2606:4700:4700::1111]/',
  ])('when it is %s, then it is allowed', async (url) => {
    expect(await check(url)).toBeUndefined()
  })

  it.each([
    ['', 'The URL cannot be read.'],
    ['hooks.example', 'The URL cannot be read.'],
    ['https://', 'The URL cannot be read.'],
    ['https://hooks.example:99999', 'The URL cannot be read.'],
    ['https://1.2.3.4.5/', 'The URL cannot be read.'],
    ['https://[fe80::1%25eth0]/', 'The URL cannot be read.'],
    ['http://hooks.example/', 'The URL must begin with https://.'],
    ['ftp://hooks.example/', 'The URL must begin with https://.'],
    ['file:///etc/passwd', 'The URL must begin with https://.'],
    ['javascript:alert(1)', 'The URL must begin with https://.'],
    ['https://user:word@hooks.example/', 'The URL must not contain a user name or a password.'],
    ['https://user@hooks.example/', 'The URL must not contain a user name or a password.'],
    ['https://:word@hooks.example/', 'The URL must not contain a user name or a password.'],
    ['https://8.8.8.8\\@127.0.0.1/#', 'The URL must not contain a fragment (#).'],
    ['https://hooks.example/#part', 'The URL must not contain a fragment (#).'],
    ['https://hooks.example/#', 'The URL must not contain a fragment (#).'],
  ])('when it is "%s", then the reason is: %s', async (url, reason) => {
    expect(await check(url)).toBe(reason)
  })

  it('when http is allowed, then both schemes are, and no other', async () => {
    const check = checkWith(['8.8.8.8'], { allowHttp: true })
    expect(await check('http://hooks.example/')).toBeUndefined()
    expect(await check('https://hooks.example/')).toBeUndefined()
    expect(await check('ftp://hooks.example/')).toBe('The URL must begin with https:// or http://.')
  })
})

describe('the host of a URL', () => {
  it.each([
    ['2130706433', '127.0.0.1'],
    ['0x7f000001', '127.0.0.1'],
    ['017700000001', '127.0.0.1'],
    ['0177.0.0.01', '127.0.0.1'],
    ['127.1', '127.0.0.1'],
    ['127.0.0.1.', '127.0.0.1'],
    ['①②⑦.0.0.1', '127.0.0.1'],
    ['%31%32%37.0.0.1', '127.0.0.1'],
    ['3232235521', '192.168.0.1'],
    ['169.254.43518', '169.254.169.254'],
    ['0', '0.0.0.0'],
    ['[::1]', '::1'],
    ['[::ffff:10.0.0.1]', '::ffff:a00:1'],
    ['[::10.0.0.1]', '::a00:1'],
    ['[64:ff9b::10.0.0.1]', '64:ff9b::a00:1'],
    ['[2002:a00:1::]', '2002:a00:1::'],
    ['[fe80::1]', 'fe80::1'],
  ])('when it is %s, then the address behind it is refused', async (host, address) => {
    expect(await checkWith(['8.8.8.8'])(`https://${host}/`)).toBe(NOT_PUBLIC(address))
  })

  it.each([
    [['127.0.0.1']],
    [['::1']],
    [['8.8.8.8', '10.0.0.1']],
    [['10.0.0.1', '8.8.8.8']],
    [['8.8.8.8', '2606:4700:4700::1111', 'fd00::1']],
    [['8.8.8.8', '::ffff:10.0.0.1']],
    [['no address']],
  ])('when its name has the addresses %j, then it is refused', async (addresses) => {
    expect(await checkWith(addresses)('https://hooks.example/')).toBe(NOT_PUBLIC('hooks.example'))
  })

  it('when all its addresses are public, then it is allowed', async () => {
    expect(await checkWith(['8.8.8.8', '2606:4700:4700::1111'])('https://hooks.example/')).toBeUndefined()
  })

  it('when its network is opened, then it is allowed', async () => {
    const check = checkWith(['10.1.2.3', 'fd00::1'], { networks: '10.1.0.0/16,fd00::/8' })
    expect(await check('https://erp.lan/')).toBeUndefined()
    expect(await check('https://10.1.2.3/')).toBeUndefined()
    expect(await check('https://10.2.0.1/')).toBe(NOT_PUBLIC('10.2.0.1'))
  })

  it('when its name has no address, then the reason says so', async () => {
    expect(await checkWith([])('https://nobody.example/')).toBe(NOT_FOUND('nobody.example'))
  })

  it('when its lookup fails or takes too long, then the reason says so', async () => {
    const rules = { allowHttp: false, allowedNetworks: [] }
    const fails = createUrlCheck({ ...rules, lookup: () => Promise.reject(new Error('ENOTFOUND')) })
    const hangs = createUrlCheck({ ...rules, lookup: () => new Promise(() => {}) }, 20)
    for (const check of [fails, hangs]) expect(await check('https://a.example/')).toBe(NOT_FOUND('a.example'))
  })

  it('when it is localhost, then the address of this machine is refused', async () => {
    const asksTheMachine = createUrlCheck({ allowHttp: false, allowedNetworks: [] })
    expect(await asksTheMachine('https://LocalHost/')).toBe(NOT_PUBLIC('localhost'))
    expect(await checkWith(['127.0.0.1'])('https://localhost./')).toBe(NOT_PUBLIC('localhost.'))
  })
})
