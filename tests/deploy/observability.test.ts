import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { VARIABLES } from '../../src/compose/env.ts'

interface Service {
  image?: string
  build?: string
  ports?: string[]
  volumes?: string[]
  environment?: Record<string, string>
  command?: string[]
}

interface ComposeFile {
  version: string
  services: Record<string, Service>
  volumes: Record<string, unknown>
}

const FILE = 'ops/compose.observability.yml'
const readYaml = (file: string) => parse(readFileSync(file, 'utf8'), { merge: true })
const stack: ComposeFile = readYaml('docker-compose.yml')
const beside: ComposeFile = readYaml(FILE)
const added = Object.entries(beside.services).filter(([name]) => !(name in stack.services))
const ours = Object.entries(beside.services).filter(([name]) => name in stack.services)

describe(FILE, () => {
  it('when it is read with the stack, then it adds three services and changes only variables of ours', () => {
    expect(beside.version).toBe(stack.version)
    expect(added.map(([name]) => name)).toEqual(['prometheus', 'grafana', 'otel-collector'])
    expect(ours.map(([name]) => name)).toEqual(['customers-api', 'orders-api', 'orchestrator'])
    for (const [, service] of ours) expect(Object.keys(service)).toEqual(['environment'])
    // Those of OpenTelemetry have the names of its specification.
    const variables = ours.flatMap(([, { environment = {} }]) => Object.keys(environment))
    expect(variables.filter((name) => !VARIABLES.includes(name))).toEqual([])
  })

  it('when its images are read, then each has an exact version', () => {
    for (const [, { image }] of added) expect(image).toMatch(/^[\w/-]+:v?\d+\.\d+\.\d+$/)
  })

  it('when its ports are published, then on this machine alone, and others than those of the stack', () => {
    const portsOf = ({ services }: ComposeFile) => Object.values(services).flatMap(({ ports = [] }) => ports)
    const parts = [...portsOf(stack), ...portsOf(beside)].map((port) =>
      /^127\.0\.0\.1:\$\{[A-Z_]+:-(\d+)\}:\d+$/.exec(port),
    )
    const published = parts.map((part) => part?.[1])
    expect(published).not.toContain(undefined)
    expect(new Set(published).size).toBe(published.length)
  })

  it('when it mounts something, then that exists', () => {
    const mounts = added.flatMap(([, { volumes = [] }]) => volumes.map((volume) => volume.split(':')))
    expect(mounts.length).toBeGreaterThan(4)
    for (const [source = '', , mode] of mounts) {
      if (source.startsWith('./'))
        expect({ source, mode, is: existsSync(source) }).toEqual({ source, mode: 'ro', is: true })
      else expect(beside.volumes).toHaveProperty([source])
    }
  })

  it('when Prometheus looks for the services, then they are where it looks', () => {
    const [{ dns_sd_configs }] = readYaml('ops/prometheus/prometheus.yml').scrape_configs
    expect(dns_sd_configs[0].names).toEqual(ours.map(([name]) => name))
    for (const [, { environment = {} }] of ours) expect(environment.METRICS_PORT).toBe(String(dns_sd_configs[0].port))
  })

  it('when a service sends traces, then the collector listens there and its configuration is whole', () => {
    const { receivers, processors, exporters, service } = readYaml('ops/otel-collector.yml')
    const [, port] = /:(\d+)$/.exec(receivers.otlp.protocols.http.endpoint) ?? []
    for (const [, { environment = {} }] of ours) {
      expect(environment.OTEL_EXPORTER_OTLP_ENDPOINT).toBe(`http://otel-collector:${port}`)
    }
    const known = { receivers, processors, exporters }
    for (const [kind, names] of Object.entries<string[]>(service.pipelines.traces)) {
      for (const name of names) expect(known).toHaveProperty([kind, name])
    }
  })

  it('when Grafana starts, then it has a Prometheus and finds the dashboard', () => {
    const { datasources } = readYaml('ops/grafana/provisioning/datasources/prometheus.yml')
    expect(datasources).toMatchObject([{ type: 'prometheus', url: 'http://prometheus:9090', isDefault: true }])
    const [{ options }] = readYaml('ops/grafana/provisioning/dashboards/b2b-orders.yml').providers
    const volumes = beside.services.grafana?.volumes ?? []
    expect(volumes).toContain(`./ops/grafana/b2b-orders.json:${options.path}/b2b-orders.json:ro`)
    expect(volumes).toContain('./ops/grafana/provisioning:/etc/grafana/provisioning:ro')
  })
})
