import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse, stringify } from 'yaml'
import { endProcess, hasEnded } from '../scripts/children.ts'
import { StartError } from '../src/compose/start-failure.ts'
import { findBinary, freePort } from './database-server.ts'

// A private Prometheus with the committed rules, and promtool.

export const RULES_FILE = 'ops/prometheus/alerts.yml'
const CONFIG_FILE = 'ops/prometheus/prometheus.yml'
const START_LIMIT_MS = 20_000
const LOG_TAIL_CHARS = 2_000

export const HOW_TO_GET_PROMETHEUS = `No Prometheus: install it (Debian, Ubuntu: apt-get install prometheus; macOS: brew install prometheus).
It need not be running; promtool comes with it.`

/** Whether this run uses Prometheus. CI always does, so that a missing one fails there. */
export function runsPrometheus(): boolean {
  if (process.env.CI === 'true' || (findBinary('prometheus') && findBinary('promtool'))) return true
  const line = '='.repeat(100)
  console.warn(`\n${line}\nNO ALERT IS TESTED.\n${HOW_TO_GET_PROMETHEUS}\n${line}\n`)
  return false
}

/** @returns what it printed, and whether it found nothing wrong */
export function promtool(args: readonly string[], input = ''): { ok: boolean; printed: string } {
  const { status, stdout, stderr } = spawnSync(binaryOf('promtool'), args, { input, encoding: 'utf8' })
  return { ok: status === 0, printed: `${stdout}${stderr}` }
}

function binaryOf(name: string): string {
  const found = findBinary(name)
  if (found === undefined) throw new StartError(HOW_TO_GET_PROMETHEUS)
  return found
}

export interface Rule {
  alert?: string
  record?: string
  expr: string
  for?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
}

export interface RuleFile {
  groups: { name: string; rules: Rule[] }[]
}

export function readRules(): Rule[] {
  const { groups }: RuleFile = parse(readFileSync(RULES_FILE, 'utf8'))
  return groups.flatMap(({ rules }) => rules)
}

/** The metrics of the services that a text names. Recorded ones have a colon, and are not among them. */
export function metricsIn(text: string): string[] {
  return text.match(/\b(?<!:)(?:b2b|http_server|http_client|db_client|process|nodejs)_[a-z\d_]+\b(?!:)/g) ?? []
}

const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
type TimeUnit = keyof typeof UNITS_MS

function dividedDuration(amount: string, unit: string, by: number): string {
  return `${Math.max(1, Math.round((Number(amount) * UNITS_MS[unit as TimeUnit]) / by))}ms`
}

/**
 * Rules for a run in which time passes faster: divides each `for:`, each range such as `[5m]` and each `offset` by a number.
 * Thresholds, names and labels stay as they are.
 */
export function shortenRules(rules: string, by: number): string {
  return rules
    .replace(/^( *for: )(\d+)(ms|s|m|h|d)$/gm, (_, key, amount, unit) => `${key}${dividedDuration(amount, unit, by)}`)
    .replace(/\[(\d+)(ms|s|m|h|d)\]/g, (_, amount, unit) => `[${dividedDuration(amount, unit, by)}]`)
    .replace(/\boffset (\d+)(ms|s|m|h|d)\b/g, (_, amount, unit) => `offset ${dividedDuration(amount, unit, by)}`)
}

export interface ScrapeTarget {
  /** As `127.0.0.1:9464`. */
  address: string
  service: string
}

/** The committed configuration with these targets in place of service discovery, scraped and evaluated each second. */
function configFor(targets: readonly ScrapeTarget[]): string {
  const { global, rule_files, scrape_configs } = parse(readFileSync(CONFIG_FILE, 'utf8'))
  const [{ dns_sd_configs, relabel_configs, ...scrape }] = scrape_configs
  const static_configs = targets.map(({ address, service }) => ({ targets: [address], labels: { service } }))
  const everySecond = { ...global, scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' }
  return stringify({ global: everySecond, rule_files, scrape_configs: [{ ...scrape, static_configs }] })
}

export interface Series {
  metric: Record<string, string>
  /** Pairs of a time in seconds and a value. */
  values: [number, string][]
}

export interface Prometheus {
  /** The samples of an expression now. */
  query(expr: string): Promise<Series[]>
  /** @param range in seconds since the epoch */
  queryRange(expr: string, range: { start: number; end: number; step: number }): Promise<Series[]>
  /** The names of all metrics that it has seen. */
  metricNames(): Promise<string[]>
  /** The rules whose last evaluation failed, with the reason. */
  failedRules(): Promise<string[]>
  stop(): Promise<void>
}

/**
 * Starts Prometheus in a temporary folder and on a free port of the loopback address.
 * @param options.rules the text of the file of rules
 * @throws StartError where it is not installed
 */
export async function startPrometheus({
  targets,
  rules = readFileSync(RULES_FILE, 'utf8'),
}: {
  targets: readonly ScrapeTarget[]
  rules?: string
}): Promise<Prometheus> {
  const binary = binaryOf('prometheus')
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-prometheus-'))
  mkdirSync(join(folder, 'data'))
  writeFileSync(join(folder, 'prometheus.yml'), configFor(targets))
  writeFileSync(join(folder, 'alerts.yml'), rules)
  const port = await freePort()
  const child = spawn(
    binary,
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=warn',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    log += text
  })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  const stop = async () => {
    await endProcess(child)
    process.off('exit', kill)
    rmSync(folder, { recursive: true, force: true })
  }
  const base = `http://127.0.0.1:${port}`
  await untilReady(base, child).catch(async (error) => {
    await stop()
    throw new Error(`${error.message}\n${log.slice(-LOG_TAIL_CHARS)}`)
  })
  return { ...apiOf(base), stop }
}

async function untilReady(base: string, child: ChildProcess): Promise<void> {
  const end = Date.now() + START_LIMIT_MS
  while (Date.now() < end && !hasEnded(child)) {
    const response = await fetch(`${base}/-/ready`).catch(() => undefined)
    if (response?.ok) return
    await sleep(50)
  }
  throw new Error('Prometheus did not start')
}

function apiOf(base: string): Omit<Prometheus, 'stop'> {
  async function call(path: string, query: Record<string, string> = {}) {
    const response = await fetch(`${base}/api/v1/${path}?${new URLSearchParams(query)}`)
    const { status, data, error } = await response.json()
    if (status !== 'success') throw new Error(`${query.query ?? path}: ${error}`)
    return data
  }
  return {
    async query(expr) {
      const { result } = await call('query', { query: expr })
      return result.map(({ metric, value }: { metric: Series['metric']; value: Series['values'][number] }) => {
        return { metric, values: [value] }
      })
    },
    async queryRange(expr, { start, end, step }) {
      const range = { start: String(start), end: String(end), step: String(step) }
      return (await call('query_range', { query: expr, ...range })).result
    },
    metricNames: () => call('label/__name__/values'),
    async failedRules() {
      const { groups } = await call('rules')
      const rules = groups.flatMap(({ rules }: { rules: { name: string; lastError?: string }[] }) => rules)
      return rules.flatMap(({ name, lastError }: { name: string; lastError?: string }) =>
        lastError ? [`${name}: ${lastError}`] : [],
      )
    },
  }
}
