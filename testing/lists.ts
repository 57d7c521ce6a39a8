import { expect } from 'vitest'
import type { ApiClient, ApiResponse } from './api-client.ts'

/** The rows of a page, as an expectation sees them. */
export interface ListedRow {
  id: number
  name: string
}

/**
 * Reads a list to its end, by the `Link` headers.
 * @param between called after each page that has a next one, with what it held
 */
export async function readPages(
  api: ApiClient,
  path: string,
  between: (rows: ListedRow[], page: number) => Promise<void> = async () => {},
): Promise<ListedRow[]> {
  const rows: ListedRow[] = []
  for (let page = 1, next: string | undefined = path; next !== undefined; page++) {
    const response: ApiResponse = await api.get(next)
    expect(response.status).toBe(200)
    rows.push(...response.body.data)
    next = nextPage(api, next, response)
    if (next !== undefined) await between(response.body.data, page)
  }
  return rows
}

/** Where the next page is, by the answer's `Link`, which must say the same as its `next_cursor`. */
export function nextPage(api: ApiClient, path: string, { headers, body }: ApiResponse): string | undefined {
  const link = headers.get('link')
  if (link === null) {
    expect(body.next_cursor).toBeNull()
    return undefined
  }
  const [, reference = ''] = /^<([^>]+)>; rel="next"$/.exec(link) ?? []
  const url = new URL(reference, `${api.base}${path}`)
  expect(url.searchParams.get('cursor')).toBe(body.next_cursor)
  return `${url.pathname}${url.search}`
}

/** A cursor as a list would write it, of values that it may not have written. */
export function forgedCursor(...values: unknown[]): string {
  return Buffer.from(JSON.stringify(values)).toString('base64url')
}

export function idsOf(rows: { id: number }[]): number[] {
  return rows.map((row) => row.id)
}
