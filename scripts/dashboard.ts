import { writeFileSync } from 'node:fs'
import { dashboardText } from './dashboard-text.ts'
import { createProgram } from './program.ts'

const { readNothing } =
  createProgram(`Writes ops/grafana/b2b-orders.json anew, the dashboard of Grafana, from scripts/dashboard-panels.ts.

  npm run dashboard`)

readNothing()
writeFileSync(new URL('../ops/grafana/b2b-orders.json', import.meta.url), dashboardText())
console.log('Wrote ops/grafana/b2b-orders.json.')
