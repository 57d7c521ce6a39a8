import { describe, expect, it, vi } from 'vitest'
import { parseEnv } from '../../compose/env.ts'
import { NoWriter } from './errors.ts'
import { hostsOf } from './mysql-connection.ts'
import { type Candidate, chooseWriter, hasSeveralServers } from './mysql-writers.ts'

vi.mock('node:dns/promises', () => ({
  lookup: async (name: string) => (ADDRESSES[name] ?? []).map((address) => ({ address })),
}))
const ADDRESSES: Record<string, string[]> = {
  'three.example': ['10.0.0.1', '10.0.0.2', '10.0.0.3'],
  'one.example': ['10.0.0.1'],
  localhost: ['::1', '127.0.0.1'],
}

function candidate(name: string, fields: Partial<Candidate> = {}): Candidate {
  const named = { server: '', epoch: 0 }
  const address = { name, host: name, port: 3306 }
  const server = { name: `${name}:3306`, isReadOnly: false, isGalera: true, isGroupMember: false }
  return { ...server, address, canWrite: true, named, ...fields }
}

const naming = (name: string, epoch: number) => ({ named: { server: `${name}:3306`, epoch } })

describe('the writer of several servers', () => {
  const cases: { title: string; found: Candidate[]; writer: string; isNamed: boolean }[] = [
    { title: 'nobody is named', found: [candidate('a'), candidate('b')], writer: 'a', isNamed: false },
    {
      title: 'the row names the second',
      found: [candidate('a', naming('b', 3)), candidate('b', naming('b', 3))],
      writer: 'b',
      isNamed: true,
    },
    {
      title: 'the named one is gone',
      found: [candidate('b', naming('a', 1)), candidate('c', naming('a', 1))],
      writer: 'b',
      isNamed: false,
    },
    {
      title: 'the named one can only be read',
      found: [candidate('a', { ...naming('a', 1), canWrite: false }), candidate('b', naming('a', 1))],
      writer: 'b',
      isNamed: false,
    },
    {
      title: 'one that was away names itself, with an older number',
      found: [candidate('a', naming('a', 1)), candidate('b', naming('b', 2))],
      writer: 'b',
      isNamed: true,
    },
    {
      title: 'there is no such row yet',
      found: [candidate('a', { named: undefined }), candidate('b', { named: undefined })],
      writer: 'a',
      isNamed: true,
    },
  ]

  it.each(cases)('when $title, then it is $writer', ({ found, writer, isNamed }) => {
    const chosen = chooseWriter(found)
    expect([chosen.writer.address.name, chosen.isNamed]).toEqual([writer, isNamed])
  })

  it('when no server can be written, then there is no writer', () => {
    expect(() => chooseWriter([candidate('a', { canWrite: false })])).toThrow(NoWriter)
  })
})

describe('DB_HOST', () => {
  it.each([
    ['db', [['db', 3306]]],
    ['db:3307', [['db', 3307]]],
    [
      'a, b:3307,10.0.0.1',
      [
        ['a', 3306],
        ['b', 3307],
        ['10.0.0.1', 3306],
      ],
    ],
    ['::1', [['::1', 3306]]],
    [
      '[::1]:3307,fe80::1',
      [
        ['::1', 3307],
        ['fe80::1', 3306],
      ],
    ],
  ])('when it is %s, then it names %j', (host, expected) => {
    expect(hostsOf({ host, port: 3306 }).map((one) => [one.host, one.port])).toEqual(expected)
  })

  it.each([
    ['one.example', false],
    ['three.example', true],
    ['one.example,10.0.0.2', true],
    ['localhost', false],
    ['10.0.0.1', false],
    ['nowhere.example', false],
  ])('when it is %s, then it means several servers: %s', async (DB_HOST, expected) => {
    expect(await hasSeveralServers(parseEnv({ DB_HOST }).database)).toBe(expected)
  })
})
