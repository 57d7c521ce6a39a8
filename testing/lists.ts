import { expect } from 'vitest'
import type { ApiClient, ApiResponse } from './api-client.ts'

/** A row of a list. */
export interface ListedRow {
  id: number
  name: string
}

/**
 * Reads a list to its end, by the `Link` headers.
 * @param between called after each page except the last, with its rows
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

/** The path of the next page, from `Link`, which must agree with `next_cursor`. */
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

/** A cursor in the format of a list, with any values. */
export function forgedCursor(...values: unknown[]): string {
  return Buffer.from(JSON.stringify(values)).toString('base64url')
}

export function idsOf(rows: { id: number }[]): number[] {
  return rows.map((row) => row.id)
}
