/** Ties the calls of one request together, in our logs and in the callers' traces. */
export interface Trace {
  correlationId: string
  /** W3C Trace Context, passed on as it came. */
  traceparent: string | undefined
}

export const CORRELATION_ID = /^[\w.:-]{1,128}$/
/** The id of a principal, as services pass it on to each other. */
export const PRINCIPAL_ID = /^[\x21-\x7e]{1,128}$/
export const TRACEPARENT = /^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}$/
