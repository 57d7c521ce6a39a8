// Runs the functions on this machine, as API Gateway and Lambda would: the bundles that are deployed, under /dev.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const HELP = `Runs the orchestrator's function on http://localhost:3000/dev, against the APIs on ports 3001 and 3010.

  npm run offline [-- --all]

  --all  the functions of Customers and Orders too, below /dev/customers-api and /dev/orders-api; they need DB_HOST
         or DB_FILE, as the services do

Variables of the environment and of .env win over the defaults of this command.`

const args = process.argv.slice(2)
if (args.includes('--help') || args.includes('-h')) {
  console.log(HELP)
  process.exit(0)
}
const unknown = args.filter((arg) => arg !== '--all')
if (unknown.length > 0) {
  console.error(`Unknown option: ${unknown.join(' ')}\n\n${HELP}`)
  process.exit(1)
}
try {
  process.loadEnvFile('.env')
} catch {
  // There need not be one.
}

const port = process.env.PORT || '3000'
const own = `http://localhost:${port}/dev`
const [customers, orders] = args.includes('--all')
  ? [`${own}/customers-api`, `${own}/orders-api`]
  : ['http://localhost:3001', 'http://localhost:3010']
const defaults = {
  NODE_ENV: 'development',
  ORCHESTRATOR_PUBLIC: 'true',
  SERVICE_TOKEN: 'internal123',
  JWT_SECRET: 'secret123',
  CUSTOMERS_API_BASE: customers,
  ORDERS_API_BASE: orders,
  // Empty is none: the embedded database.
  DB_HOST: '',
  DB_USER: 'root',
  DB_PASS: '',
  // The orders process sweeps by itself; without it, the sweep function does.
  SWEEP_SCHEDULED: String(args.includes('--all')),
}
const set = Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== undefined && value !== ''))

const serverless = fileURLToPath(new URL('../node_modules/serverless/bin/serverless.js', import.meta.url))
const child = spawn(process.execPath, [serverless, 'offline', 'start', '--httpPort', port], {
  cwd: fileURLToPath(new URL('..', import.meta.url)),
  env: { ...defaults, ...set },
  stdio: 'inherit',
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
child.on('exit', (code) => process.exit(code ?? 0))
