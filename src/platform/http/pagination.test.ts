import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { AppError } from '../core/errors.ts'
import { cutPage, nextLink, readCursor } from './pagination.ts'

const Key = z.tuple([z.string(), z.number()])
const rows = [1, 2, 3].map((id) => ({ id, word: `wörd–株 ${id}` }))
const keyOf = (row: { id: number; word: string }) => [row.word, row.id]

describe('pages', () => {
  it('when there is one row more than the page, then the cursor is its last row', () => {
    const page = cutPage('things', rows, 2, keyOf)
    expect(page.data).toEqual(rows.slice(0, 2))
    expect(page.next_cursor).toMatch(/^[\w-]+$/)
    expect(readCursor('things', page.next_cursor ?? '', Key)).toEqual(['wörd–株 2', 2])
  })

  it('when the rows fill the page or less, then there is no next page', () => {
    expect(cutPage('things', rows, 3, keyOf)).toEqual({ data: rows, next_cursor: null })
    expect(cutPage('things', rows, 4, keyOf)).toEqual({ data: rows, next_cursor: null })
    expect(cutPage('things', [], 4, keyOf)).toEqual({ data: [], next_cursor: null })
  })

  it('when a list was left early, then the cursor is that position', () => {
    for (const rows of [[], [{ id: 1, word: 'a' }]]) {
      const { data, next_cursor } = cutPage('things', rows, 2, keyOf, ['z', 9])
      expect(data).toEqual(rows)
      expect(readCursor('things', next_cursor ?? '', Key)).toEqual(['z', 9])
    }
    const { next_cursor } = cutPage('things', rows, 2, keyOf, ['z', 9])
    expect(readCursor('things', next_cursor ?? '', Key)).toEqual(['wörd–株 2', 2])
  })

  it('when there is no cursor, then there is no position', () => {
    expect(readCursor('things', undefined, Key)).toBeUndefined()
  })

  it('when the cursor is of another list, or malformed, then it is refused', () => {
    const { next_cursor } = cutPage('things', rows, 2, keyOf)
    for (const [list, key] of [['others', Key] as const, ['things', z.tuple([z.number()])] as const]) {
      expect(() => readCursor(list, next_cursor ?? '', key)).toThrow(AppError)
    }
  })

  it('when there is a next page, then its link keeps the query, without host or path', () => {
    const link = nextLink('http://10.0.0.7:3001/customers?search=caf%C3%A9+x&cursor=old&limit=2', {
      data: [],
      next_cursor: 'new',
    })
    expect(link).toEqual({ link: '<?search=caf%C3%A9+x&cursor=new&limit=2>; rel="next"' })
  })

  it('when there is no next page, then there is no link', () => {
    expect(nextLink('http://localhost/customers', { data: [], next_cursor: null })).toEqual({})
  })
})
