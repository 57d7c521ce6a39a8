import type { Context } from 'hono'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'

/** The values of `If-Match` and `If-None-Match` (RFC 9110, section 13); undefined when absent. */
export interface Preconditions {
  ifMatch: string | undefined
  ifNoneMatch: string | undefined
}

export function etagOf({ version }: { version: number }): string {
  return `"${version}"`
}

export function preconditionsOf(c: Context): Preconditions {
  return { ifMatch: c.req.header('if-match'), ifNoneMatch: c.req.header('if-none-match') }
}

/**
 * @param found the current resource
 * @param kind the resource's name in the refusal
 * @throws AppError `precondition_failed`
 */
export function requireVersion(preconditions: Preconditions, found: { version: number }, kind: string): void {
  const { ifMatch, ifNoneMatch } = preconditions
  if (ifMatch !== undefined && !namesVersion(ifMatch, found)) {
    throw new AppError(
      PLATFORM_ERRORS.precondition_failed,
      `The ${kind} has changed to version ${found.version}. Read it again.`,
    )
  }
  if (ifNoneMatch !== undefined && namesVersion(ifNoneMatch, found)) {
    throw new AppError(
      PLATFORM_ERRORS.precondition_failed,
      `If-None-Match excludes version ${found.version} of the ${kind}.`,
    )
  }
}

/**
 * Whether a list of entity tags, or `*`, names the current version. A weak tag equals the strong one: compressing
 * proxies weaken tags, and no two states of a resource share a version.
 */
export function namesVersion(tags: string, found: { version: number }): boolean {
  return namesTag(tags, etagOf(found))
}

/** Whether a list of entity tags, or `*`, names `etag`. Weak and strong tags are equal. */
export function namesTag(tags: string, etag: string): boolean {
  if (tags.trim() === '*') return true
  return tags.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag)
}
