import type { AppError, ErrorExtra } from '../core/errors.ts'
import { int32, MAX_INT32 } from './integers.ts'
import { z } from './schema.ts'

/** A problem document (RFC 9457): the shape of refusals, unless a service has its own {@link ProblemShape}. */
export const Problem = z
  .looseObject({
    type: z
      .string()
      .meta({ description: 'A URI reference that names the kind of problem: `urn:problem:` and the code.' }),
    title: z.string(),
    status: int32(400, 599),
    detail: z.string(),
    code: z.string().meta({ description: 'Stable. Programs decide by this one.' }),
    request_id: z.string().meta({ description: 'The correlation id of the request. Name it when you ask for help.' }),
    errors: z
      .array(z.object({ path: z.string(), message: z.string() }).openapi('FieldProblem'))
      .optional()
      .meta({ description: 'For validation: what is wrong and where. At most 50.' }),
    more_errors: int32(1, MAX_INT32).optional().meta({ description: 'How many more errors there are.' }),
  })
  .openapi('Problem')

export interface ProblemDocument extends ErrorExtra {
  type: string
  title: string
  status: number
  detail: string
  code: string
  request_id: string
}

/** The shape of a service's refusals: its schema, and how to make one. */
export interface ProblemShape {
  schema: z.ZodType
  of(error: AppError, requestId: string): object
}

export const plainProblem: ProblemShape = { schema: Problem, of: problemDocument }

export function problemDocument(error: AppError, requestId: string): ProblemDocument {
  const { code, status, title, message: detail, extra } = error
  return { type: `urn:problem:${code}`, title, status, detail, code, request_id: requestId, ...extra }
}
