// What the dashboard of Grafana shows, from top to bottom. dashboard-text.ts makes the file from it.

/** Units of Grafana. `none` is a number. */
export type Unit = 'none' | 'short' | 's' | 'percentunit' | 'reqps' | 'ops' | 'bytes'

export interface Query {
  expr: string
  /** The name of a series; `{{label}}` stands for the value of a label. */
  legend: string
}

export interface Panel {
  title: string
  /** What it says, and what is well. */
  description: string
  /** One number, now; or lines over time. */
  kind: 'stat' | 'timeseries'
  unit: Unit
  queries: readonly Query[]
  /** Values from which a number or the background of lines is yellow and red. With `low`, below which. */
  limits?: { warn: number; bad: number; low?: true }
  /** In a row of 24. */
  width: number
  stacked?: true
}

export interface Row {
  title: string
  panels: readonly Panel[]
}

const OF_CALLERS = 'service=~"$service", http_route!~"/health|/ready|/metrics|/internal/.*"'
const ORDER_ROUTES = 'http_request_method="POST", http_route=~"/orders|/orders/.*/(confirm|cancel)|/orchestrator/.*"'

/** The rate of a counter, by a label. */
function rateBy(label: string, counter: string, selector = ''): string {
  return `sum by (${label}) (rate(${counter}{${selector}}[$__rate_interval]))`
}

/** The 50th and the 99th percentile of a histogram, for each value of a label. */
function percentiles(label: string, histogram: string, selector = ''): Query[] {
  return [0.5, 0.99].map((quantile) => ({
    expr: `histogram_quantile(${quantile}, sum by (${label}, le) (rate(${histogram}_bucket{${selector}}[$__rate_interval])))`,
    legend: `{{${label}}} p${quantile * 100}`,
  }))
}

function stat(title: string, unit: Unit, expr: string, description: string, limits?: Panel['limits']): Panel {
  return {
    title,
    description,
    kind: 'stat',
    unit,
    queries: [{ expr, legend: '' }],
    width: 4,
    ...(limits && { limits }),
  }
}

function lines(
  title: string,
  unit: Unit,
  queries: readonly Query[],
  description: string,
  more: Partial<Panel> = {},
): Panel {
  return { title, description, kind: 'timeseries', unit, queries, width: 8, ...more }
}

export const ROWS: readonly Row[] = [
  {
    title: 'Is it well?',
    panels: [
      stat(
        'Alerts',
        'none',
        'count(ALERTS{alertstate="firing"}) or vector(0)',
        'Alerts that fire now. Each has a section of its name in docs/operations.md.',
        { warn: 1, bad: 2 },
      ),
      stat(
        'Processes that answer',
        'percentunit',
        'avg(up{job="b2b-orders", service=~"$service"})',
        'The share of the processes that could be scraped.',
        { warn: 1, bad: 0.5, low: true },
      ),
      stat(
        'Failed in the last hour',
        'percentunit',
        'max(service:http_failed:ratio1h{service=~"$service"})',
        'The share of 5xx in the requests that the service should have served, of the worst service. The objective is 0.1 % in 30 days.',
        { warn: 0.001, bad: 0.0144 },
      ),
      stat(
        'Orders a second',
        'ops',
        'sum(rate(b2b_orders_total{outcome="placed"}[5m]))',
        'Orders that were placed, over five minutes.',
      ),
      stat(
        'Orders: 99 % within',
        's',
        'max(service:order_duration_seconds:p99_5m{service=~"$service"})',
        'The 99th percentile of placing, confirming and canceling, of the slowest service.',
        { warn: 0.5, bad: 1 },
      ),
      stat(
        'Books balanced',
        'none',
        'min(b2b_books_balanced)',
        '1: the last audit found no difference. 0: it did. Empty: there was none.',
        { warn: 1, bad: 1, low: true },
      ),
      lines(
        'Requests a second',
        'reqps',
        [{ expr: rateBy('service', 'http_server_request_duration_seconds_count', OF_CALLERS), legend: '{{service}}' }],
        'Requests of callers: no probes, no calls between services.',
      ),
      lines(
        'Failed',
        'percentunit',
        [{ expr: 'service:http_failed:ratio5m{service=~"$service"}', legend: '{{service}}' }],
        'The share of 5xx over five minutes. Red: the error budget of 30 days would last two days.',
        { limits: { warn: 0.001, bad: 0.0144 } },
      ),
      lines(
        'Duration of orders',
        's',
        percentiles('service', 'http_server_request_duration_seconds', `service=~"$service", ${ORDER_ROUTES}`),
        'Placing, confirming and canceling: half of them take less than p50, 99 of 100 less than p99.',
        { limits: { warn: 0.5, bad: 1 } },
      ),
      lines(
        'Responses by status',
        'reqps',
        [
          {
            expr: rateBy('http_response_status_code', 'http_server_request_duration_seconds_count', OF_CALLERS),
            legend: '{{http_response_status_code}}',
          },
        ],
        'Of callers. Many 401: a rotation, or somebody tries secrets. Many 429 or 503: a limit.',
        { width: 12, stacked: true },
      ),
      lines(
        'Busiest routes',
        'reqps',
        [
          {
            expr: `topk(8, ${rateBy('http_request_method, http_route', 'http_server_request_duration_seconds_count', OF_CALLERS)})`,
            legend: '{{http_request_method}} {{http_route}}',
          },
        ],
        'The eight routes with the most requests. `unmatched` is every path that is no route.',
        { width: 12 },
      ),
    ],
  },
  {
    title: 'Orders and refusals',
    panels: [
      lines(
        'Orders by outcome',
        'ops',
        [{ expr: rateBy('outcome', 'b2b_orders_total'), legend: '{{outcome}}' }],
        'Each is counted when it is committed. Many expired: callers place orders and do not confirm them.',
      ),
      lines(
        'Refused',
        'percentunit',
        [
          {
            expr: 'sum by (outcome) (rate(b2b_orders_total{outcome=~"refused_.*"}[$__rate_interval])) / ignoring (outcome) group_left sum(rate(b2b_orders_total{outcome=~"placed|refused_.*"}[$__rate_interval]))',
            legend: '{{outcome}}',
          },
        ],
        'The share of the orders that were decided. Stock: see products without stock.',
        { limits: { warn: 0.3, bad: 0.6 } },
      ),
      lines(
        'Replays',
        'ops',
        [{ expr: rateBy('operation', 'b2b_replays_total'), legend: '{{operation}}' }],
        'Requests whose key had been used: callers who send again. Many: their time limits are too short, or the network is broken.',
      ),
      lines(
        'Open holds',
        'short',
        [{ expr: 'max(b2b_holds_open)', legend: 'open' }],
        'Orders that wait for a confirmation, and keep their stock.',
      ),
      lines(
        'Overdue holds',
        's',
        [{ expr: 'max(b2b_holds_overdue_age_seconds)', legend: 'oldest' }],
        'How long ago the oldest hold ended that no sweep has released. Below the pause of the sweep: well.',
        { limits: { warn: 60, bad: 180 } },
      ),
      lines(
        'Products without stock',
        'short',
        [{ expr: 'max(b2b_products_out_of_stock)', legend: 'products' }],
        'Products of which there is none left.',
      ),
    ],
  },
  {
    title: 'Batches',
    panels: [
      lines(
        'Commands in a batch',
        'short',
        [
          {
            expr: 'sum by (batcher) (rate(b2b_batch_size_sum[$__rate_interval])) / sum by (batcher) (rate(b2b_batch_size_count[$__rate_interval]))',
            legend: '{{batcher}}',
          },
        ],
        'How many commands share a transaction, on average. It grows with the load: that is how it scales.',
      ),
      lines(
        'Duration of a batch',
        's',
        percentiles('batcher', 'b2b_batch_duration_seconds'),
        'One transaction. It grows with the commands in it, and when the database is slow.',
      ),
      lines(
        'Wait for a batch',
        's',
        percentiles('batcher', 'b2b_batch_wait_seconds'),
        'How long commands wait for the batch before theirs.',
      ),
      lines(
        'Queue',
        'short',
        [{ expr: 'sum by (batcher) (b2b_batch_queue_length)', legend: '{{batcher}}' }],
        'Commands that wait. A queue that only grows: more orders come than the database can take.',
        { width: 12 },
      ),
      lines(
        'Splits',
        'ops',
        [{ expr: rateBy('batcher', 'b2b_batch_splits_total'), legend: '{{batcher}}' }],
        'Batches that failed as a whole and were tried in halves.',
        { width: 12 },
      ),
    ],
  },
  {
    title: 'Database',
    panels: [
      lines(
        'Connections',
        'short',
        [
          {
            expr: 'sum by (service, state) (db_client_connection_count{service=~"$service"})',
            legend: '{{service}} {{state}}',
          },
        ],
        'Of all processes of a service. All are used for long: the pool is too small, or the database is slow.',
      ),
      lines(
        'Wait for a connection',
        's',
        percentiles('service', 'db_client_connection_wait_seconds', 'service=~"$service"'),
        'Almost nothing, while the pool has idle connections.',
        { limits: { warn: 0.1, bad: 0.25 } },
      ),
      lines(
        'Transactions run again',
        'ops',
        [{ expr: rateBy('reason', 'b2b_transaction_retries_total', 'service=~"$service"'), legend: '{{reason}}' }],
        'Deadlocks, lost connections, a writer that changed. No order is lost or doubled.',
      ),
      lines(
        'Duration of operations',
        's',
        [
          {
            expr: 'histogram_quantile(0.99, sum by (operation, le) (rate(db_client_operation_duration_seconds_bucket{service=~"$service"}[$__rate_interval])))',
            legend: '{{operation}} p99',
          },
        ],
        'What the database takes for statements of a kind, with the network.',
        { width: 12 },
      ),
      lines(
        'Operations a second',
        'ops',
        [
          {
            expr: rateBy('operation', 'db_client_operation_duration_seconds_count', 'service=~"$service"'),
            legend: '{{operation}}',
          },
        ],
        'Statements that were sent, by kind.',
        { width: 12 },
      ),
    ],
  },
  {
    title: 'Webhooks and events',
    panels: [
      lines(
        'Events without a position',
        's',
        [{ expr: 'max(b2b_events_unnumbered_age_seconds)', legend: 'oldest' }],
        'How long the oldest event waits for its position in the feed. A second or two: well.',
        { width: 6, limits: { warn: 10, bad: 60 } },
      ),
      lines(
        'Pending webhooks',
        's',
        [{ expr: 'max(b2b_webhook_pending_age_seconds)', legend: 'oldest' }],
        'How long the oldest delivery waits. Some seconds: well. Longer: a receiver is away.',
        { width: 6, limits: { warn: 600, bad: 3600 } },
      ),
      lines(
        'Attempts',
        'ops',
        [{ expr: rateBy('outcome', 'b2b_webhook_attempts_total'), legend: '{{outcome}}' }],
        'Requests to receivers, by what came of them.',
        { width: 6 },
      ),
      lines(
        'Endpoints',
        'short',
        [{ expr: 'max by (status) (b2b_webhook_endpoints)', legend: '{{status}}' }],
        'A disabled endpoint gets nothing until somebody enables it.',
        { width: 6 },
      ),
    ],
  },
  {
    title: 'Process',
    panels: [
      lines(
        'CPU',
        'percentunit',
        [
          {
            expr: 'rate(process_cpu_seconds_total{service=~"$service"}[$__rate_interval])',
            legend: '{{service}} {{instance}}',
          },
        ],
        'Of one core. A process uses hardly more than one: start another before it is full.',
        { width: 6 },
      ),
      lines(
        'Memory',
        'bytes',
        [{ expr: 'process_resident_memory_bytes{service=~"$service"}', legend: '{{service}} {{instance}}' }],
        'Resident. It is flat after the first minutes.',
        { width: 6 },
      ),
      lines(
        'Delay of the event loop',
        's',
        [
          {
            expr: 'nodejs_eventloop_delay_seconds{service=~"$service"}',
            legend: '{{service}} {{instance}}',
          },
        ],
        'The longest of the last ten seconds. Every request of the process waited that long.',
        { width: 6, limits: { warn: 0.1, bad: 0.5 } },
      ),
      lines(
        'In flight',
        'short',
        [{ expr: 'sum by (service) (b2b_requests_in_flight{service=~"$service"})', legend: '{{service}}' }],
        'Requests in progress. The limit of a process is MAX_REQUESTS.',
        { width: 6 },
      ),
      lines(
        'Rejected',
        'reqps',
        [
          {
            expr: rateBy('service, reason', 'b2b_requests_rejected_total', 'service=~"$service"'),
            legend: '{{service}} {{reason}}',
          },
        ],
        'Requests that a limit turned away before they took any work.',
        { width: 8 },
      ),
      lines(
        'Calls to other services',
        'reqps',
        [
          {
            expr: rateBy('server, outcome', 'http_client_request_duration_seconds_count', 'service=~"$service"'),
            legend: '{{server}} {{outcome}}',
          },
        ],
        'Calls of one service to another one, by what came of them.',
        { width: 8 },
      ),
      lines(
        'Versions',
        'short',
        [{ expr: 'count by (version) (b2b_build_info{service=~"$service"})', legend: '{{version}}' }],
        'Processes of each version. Two for a while: a deployment.',
        { width: 8 },
      ),
    ],
  },
]
