import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { parse } from 'yaml'
import { metricsIn, promtool, RULES_FILE, readRules, runsPrometheus, shortenRules } from '../../testing/prometheus.ts'

const TEXT = readFileSync('docs/operations.md', 'utf8')
const [, SECTION = ''] = /\n## Alerts\n(.*?)\n## /s.exec(TEXT) ?? []
const RULES = readRules()
const ALERTS = RULES.filter((rule) => rule.alert !== undefined)
const NAMES = [...new Set(ALERTS.map(({ alert = '' }) => alert))]

/** The runbooks by the names of their alerts. */
const RUNBOOKS = new Map(
  SECTION.split(/^### /m)
    .slice(1)
    .map((text) => [text.split('\n')[0] ?? '', text]),
)

describe('the rules of Prometheus', () => {
  it('when there is an alert, then it has a runbook, and no runbook is without an alert', () => {
    expect([...RUNBOOKS.keys()]).toEqual(NAMES)
    expect(NAMES.length).toBeGreaterThan(12)
  })

  it.each(ALERTS)('when $alert fires, then it says what is wrong, how bad it is and where the runbook is', (rule) => {
    const { alert = '', labels = {}, annotations = {} } = rule
    expect(labels.severity).toMatch(/^(critical|warning)$/)
    expect(annotations.runbook_url).toBe(`docs/operations.md#${alert.toLowerCase()}`)
    for (const text of [annotations.summary, annotations.description]) expect(text).toMatch(/\w \w/)
  })

  it.each(NAMES)('when %s has a runbook, then it says what callers notice, what to do, and whom to tell', (name) => {
    const runbook = RUNBOOKS.get(name) ?? ''
    for (const part of ['For callers:', 'Look first:', 'Do:', 'Tell somebody else']) {
      expect(runbook, name).toContain(`**${part}`)
    }
  })

  it('when a runbook sends somebody to a line of the log, then there is such a line', () => {
    const lines = [...SECTION.matchAll(/\blines? `([^`]+)`/g)].map(([, line]) => line)
    expect(lines.length).toBeGreaterThan(6)
    const [, watched = ''] = TEXT.split('\n## What to watch\n')
    expect(lines.filter((line) => !watched.includes(`\n| \`${line}\``))).toEqual([])
  })

  it('when durations are shortened, then names, labels and thresholds stay', () => {
    const rules = [
      '      - record: a:ratio_5m',
      '        expr: rate(a{window="5m"}[5m]) / b offset 90s > 300',
      '        for: 10m',
      '        labels: { window: 1h }',
    ].join('\n')
    expect(shortenRules(rules, 60)).toBe(
      rules.replace('[5m]', '[5000ms]').replace('offset 90s', 'offset 1500ms').replace('for: 10m', 'for: 10000ms'),
    )
  })
})

describe.runIf(runsPrometheus())('promtool', () => {
  it('when it checks rules and configuration, then it finds no fault', () => {
    for (const args of [
      ['check', 'rules', RULES_FILE],
      ['check', 'config', 'ops/prometheus/prometheus.yml'],
    ]) {
      const { ok, printed } = promtool(args)
      expect({ ok, printed }).toEqual({ ok: true, printed: expect.not.stringContaining('FAILED') })
    }
  })

  it('when it plays the faults, then each alert fires on its own and a healthy night is silent', () => {
    const { ok, printed } = promtool(['test', 'rules', 'ops/prometheus/alerts.test.yml'])
    expect(ok, printed).toBe(true)
  })

  it('when rules are shortened for a test, then they still are rules', () => {
    const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-rules-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'alerts.yml')
    writeFileSync(file, shortenRules(readFileSync(RULES_FILE, 'utf8'), 60))
    const { ok, printed } = promtool(['check', 'rules', file])
    expect(ok, printed).toBe(true)
  })
})

describe('ops/prometheus/alerts.test.yml', () => {
  interface RuleTest {
    name: string
    alert_rule_test?: { alertname: string; exp_alerts: unknown[] }[]
  }
  const { tests }: { tests: RuleTest[] } = parse(readFileSync('ops/prometheus/alerts.test.yml', 'utf8'))
  const cases = tests.flatMap(({ alert_rule_test = [] }) => alert_rule_test)

  it('when there is an alert, then it fires in one case, and is silent in another one', () => {
    const fires = (isSilent: boolean) =>
      new Set(
        cases.filter(({ exp_alerts }) => (exp_alerts.length === 0) === isSilent).map(({ alertname }) => alertname),
      )
    expect(NAMES.filter((name) => !fires(false).has(name))).toEqual([])
    // The rest is silent in the healthy night only.
    expect(NAMES.filter((name) => !fires(true).has(name))).toEqual([])
    expect(tests[0]).toMatchObject({ promql_expr_test: [{ exp_samples: [] }] })
  })

  it('when the healthy night is read, then it has every series that an alert looks at', () => {
    const { input_series = [] }: { input_series?: { series: string }[] } = Object(tests[0])
    const healthy = new Set(input_series.map(({ series }) => series.split('{')[0] ?? ''))
    const read = RULES.flatMap(({ expr }) => metricsIn(expr))
    expect(read.filter((name) => !healthy.has(name))).toEqual([])
  })
})
