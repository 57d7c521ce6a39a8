import { expect, it } from 'vitest'
import {
  databaseFaultOf,
  isAnyDuplicate,
  isConflict,
  isConnectionLost,
  isDuplicate,
  isUnavailable,
  leadsToReader,
} from './errors.ts'

/** An error as mysql2 throws it. */
function serverError(errno: number, message = 'refused'): Error {
  return Object.assign(new Error(message), { errno })
}

function sqliteError(errcode: number): Error {
  return Object.assign(new Error('refused'), { code: 'ERR_SQLITE_ERROR', errcode })
}

it.each([
  [1290, '--read-only'],
  [1792, 'a read-only transaction'],
  [1836, 'read-only mode'],
  [1047, 'a node that lost its cluster'],
  [3100, 'a group without its majority'],
])('when the server reports %d (%s), then the connection leads to no writer', (errno) => {
  expect(leadsToReader(serverError(errno))).toBe(true)
  expect(isUnavailable(serverError(errno))).toBe(true)
})

it.each([1927, 9001, 9002, 9003, 9005])(
  'when the server or a proxy reports %d, then the connection is lost',
  (errno) => {
    expect(isConnectionLost(serverError(errno))).toBe(true)
  },
)

it.each([
  ['ER_SERVER_SHUTDOWN', 1053],
  ['ER_CLIENT_INTERACTION_TIMEOUT', 4031],
  ['ER_SESSION_WAS_KILLED', 3169],
])('when the server reports %s, then the connection is lost', (code, errno) => {
  expect(isConnectionLost(Object.assign(serverError(errno), { code }))).toBe(true)
})

it.each([
  "Duplicate entry 'a' for key 'shelf_code'",
  "Duplicate entry 'a' for key 'goods.shelf_code'",
  "Duplicate entry 'goods_name'' for key 'shelf_code'",
  "Duplicate entry 'it's 'goods_name'' for key 'shelf_code'",
  "Doppelter Eintrag 'a' für Schlüssel 'shelf_code'",
  "'a' は索引 'shelf_code' で重複しています。",
])('when a duplicate is reported as %j, then only its index refused it', (message) => {
  const error = serverError(1062, message)
  const by = (index: string) => isDuplicate(error, { index, column: 'goods.none' })
  expect([by('shelf_code'), by('goods_name'), isAnyDuplicate(error)]).toEqual([true, false, true])
})

it('when the disk of the server is full, then it is unavailable', () => {
  expect(isUnavailable(serverError(1021))).toBe(true)
  expect(isUnavailable(serverError(1114))).toBe(true)
  expect(isUnavailable(serverError(1030, 'Got error 28 "No space left on device" from storage engine'))).toBe(true)
  expect(isUnavailable(serverError(1030, 'Got error 128 "Out of memory" from storage engine'))).toBe(false)
})

it.each([
  ['READONLY', 8],
  ['READONLY_DBMOVED', 1032],
  ['IOERR_FSYNC', 1034],
  ['CORRUPT', 11],
  ['FULL', 13],
  ['CANTOPEN', 14],
  ['NOTADB', 26],
])('when SQLite reports %s, then it is unavailable, without a retry', (_, errcode) => {
  expect(isUnavailable(sqliteError(errcode))).toBe(true)
  expect(isConflict(sqliteError(errcode))).toBe(false)
})

it.each([
  ['BUSY', 5],
  ['BUSY_RECOVERY', 261],
  ['BUSY_SNAPSHOT', 517],
])('when SQLite reports %s, then a retry is worth it', (_, errcode) => {
  expect(isConflict(sqliteError(errcode))).toBe(true)
})

it.each([[serverError(1064)], [sqliteError(1)], [new Error('other')], ['no error']])(
  'when it is a programming error, then it is neither lost nor unavailable: %s',
  (error) => {
    expect([isConnectionLost(error), leadsToReader(error), isUnavailable(error)]).toEqual([false, false, false])
  },
)

const withCode = (code: string) => Object.assign(new Error('refused'), { code })

it.each<[string, Error]>([
  ['denied', withCode('ER_ACCESS_DENIED_ERROR')],
  ['denied', withCode('ER_TABLEACCESS_DENIED_ERROR')],
  ['denied', sqliteError(3)],
  ['full', serverError(1021)],
  ['full', serverError(1114)],
  ['full', serverError(1030, 'Got error 28 from storage engine')],
  ['full', sqliteError(13)],
  ['read_only', serverError(1290)],
  ['read_only', serverError(1047)],
  ['read_only', sqliteError(8)],
  ['locked', serverError(1205)],
  ['locked', sqliteError(5)],
  ['too_slow', withCode('PROTOCOL_SEQUENCE_TIMEOUT')],
  ['too_slow', withCode('ETIMEDOUT')],
  ['unreachable', withCode('ECONNREFUSED')],
  ['unreachable', withCode('PROTOCOL_CONNECTION_LOST')],
  ['failed', serverError(1064)],
  ['failed', new Error('of another kind')],
])('when the database fault is classified as %s, then it is this error: %o', (word, error) => {
  expect(databaseFaultOf(error)).toBe(word)
})
