import { describe, expect, it } from 'vitest'
import { namesVersion } from './etag.ts'

describe('a list of entity tags', () => {
  it.each(['*', ' * ', '"3"', ' "3" ', '"1", "3"', '"3","4"', 'W/"3"', '"1",W/"3"', 'W/"1", "3"'])(
    'when it is %s, then it matches version 3',
    (tags) => {
      expect(namesVersion(tags, { version: 3 })).toBe(true)
    },
  )

  it.each(['', '3', '"2"', '"33"', 'W/"2"', 'w/"3"', 'W/3', 'W/ "3"', '"W/3"', '"2", "4"', '"*"', 'W/*', '*, "1"'])(
    'when it is %j, then it does not match version 3',
    (tags) => {
      expect(namesVersion(tags, { version: 3 })).toBe(false)
    },
  )
})
