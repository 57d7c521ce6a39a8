/** Links all calls of one request, in the services' logs and in the callers' traces. */
export interface Trace {
  correlationId: string
  /** W3C Trace Context, passed on unchanged. */
  traceparent: string | undefined
}

export const CORRELATION_ID = /^[\w.:-]{1,128}$/
/** The id of a principal, in calls between services. */
export const PRINCIPAL_ID = /^[\x21-\x7e]{1,128}$/
export const TRACEPARENT = /^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}$/
