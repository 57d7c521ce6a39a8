// The series of the platform. Those of a domain are in its `metrics.ts`. docs/operations.md says what to look at.

/** From the semantic conventions for HTTP. */
const HTTP_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const SHORT_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
/** From the semantic conventions for databases. */
const DATABASE_BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]
const JOB_BUCKETS = [0.01, 0.1, 1, 10, 60]
const SIZE_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256]

export const REQUEST_SECONDS = {
  kind: 'histogram',
  name: 'http_server_request_duration_seconds',
  help: 'Time from the headers of a request to its response.',
  labels: ['http_request_method', 'http_route', 'http_response_status_code'],
  buckets: HTTP_BUCKETS,
} as const

export const CLIENT_REQUEST_SECONDS = {
  kind: 'histogram',
  name: 'http_client_request_duration_seconds',
  help: 'Time of one request to another service.',
  labels: ['server', 'outcome'],
  buckets: HTTP_BUCKETS,
} as const

export const REPLAYS = {
  kind: 'counter',
  name: 'b2b_replays_total',
  help: 'Requests that got the stored response of an earlier request with their key.',
  labels: ['operation'],
} as const

export const REQUESTS_IN_FLIGHT = {
  kind: 'gauge',
  name: 'b2b_requests_in_flight',
  help: 'Requests in progress. MAX_REQUESTS is their limit in each service.',
  labels: [],
} as const

export const REQUESTS_REJECTED = {
  kind: 'counter',
  name: 'b2b_requests_rejected_total',
  help: 'Requests that were refused because of a limit, or before an app saw them.',
  labels: ['reason'],
} as const

export const BATCH_SIZE = {
  kind: 'histogram',
  name: 'b2b_batch_size',
  help: 'Commands in a batch.',
  labels: ['batcher'],
  buckets: SIZE_BUCKETS,
} as const

export const BATCH_SECONDS = {
  kind: 'histogram',
  name: 'b2b_batch_duration_seconds',
  help: 'Time of a batch, until all its commands are committed, refused or set aside.',
  labels: ['batcher'],
  buckets: SHORT_BUCKETS,
} as const

export const BATCH_WAIT_SECONDS = {
  kind: 'histogram',
  name: 'b2b_batch_wait_seconds',
  help: 'Time that the command of a batch which came first waited for the batch to start.',
  labels: ['batcher'],
  buckets: SHORT_BUCKETS,
} as const

export const BATCH_QUEUE_LENGTH = {
  kind: 'gauge',
  name: 'b2b_batch_queue_length',
  help: 'Commands that wait for a batch.',
  labels: ['batcher'],
} as const

export const BATCH_SPLITS = {
  kind: 'counter',
  name: 'b2b_batch_splits_total',
  help: 'Batches that failed as a whole and were tried again in two halves.',
  labels: ['batcher'],
} as const

export const TRANSACTION_RETRIES = {
  kind: 'counter',
  name: 'b2b_transaction_retries_total',
  help: 'Transactions that were started again.',
  labels: ['reason'],
} as const

export const DATABASE_CONNECTIONS = {
  kind: 'gauge',
  name: 'db_client_connection_count',
  help: 'Connections of the pool, by state.',
  labels: ['state'],
} as const

export const CONNECTION_WAIT_SECONDS = {
  kind: 'histogram',
  name: 'db_client_connection_wait_seconds',
  help: 'Time that work waited for a connection, whether it got one or not.',
  labels: [],
  buckets: SHORT_BUCKETS,
} as const

export const DATABASE_OPERATION_SECONDS = {
  kind: 'histogram',
  name: 'db_client_operation_duration_seconds',
  help: 'Time of one exchange with the database. Statements that were sent together count as the last of them.',
  labels: ['operation'],
  buckets: DATABASE_BUCKETS,
} as const

export const JOB_SECONDS = {
  kind: 'histogram',
  name: 'b2b_job_duration_seconds',
  help: 'Time of one run of a job.',
  labels: ['job', 'outcome'],
  buckets: JOB_BUCKETS,
} as const
