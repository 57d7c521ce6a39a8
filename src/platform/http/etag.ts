import type { Context } from 'hono'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'

/** What a write asks of the version that it finds (RFC 9110, section 13): the headers of these names. */
export interface Preconditions {
  ifMatch: string | undefined
  ifNoneMatch: string | undefined
}

export function etagOf({ version }: { version: number }): string {
  return `"${version}"`
}

/** The preconditions that a request's headers name. */
export function preconditionsOf(c: Context): Preconditions {
  return { ifMatch: c.req.header('if-match'), ifNoneMatch: c.req.header('if-none-match') }
}

/**
 * @param found the resource as it is now
 * @param kind what it is, for the refusal
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
 * Whether a list of entity tags, or `*`, names the version that was found. A weak tag names the same version as the
 * strong one: proxies that compress make tags weak, and no two states of a resource have one version.
 */
export function namesVersion(tags: string, found: { version: number }): boolean {
  return namesTag(tags, etagOf(found))
}

/** Whether a list of entity tags, or `*`, names this one. */
export function namesTag(tags: string, etag: string): boolean {
  if (tags.trim() === '*') return true
  return tags.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag)
}
