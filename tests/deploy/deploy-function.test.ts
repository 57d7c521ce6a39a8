import { once } from 'node:events'
import { createServer } from 'node:http'
import { expect, it, onTestFinished } from 'vitest'
import { copyProject, readZip } from '../../testing/packages.ts'
import { startCommand } from '../../testing/programs.ts'

const ROLE = 'arn:aws:iam::123456789012:role/b2b-orders-dev-OrdersRole-ABC'
const FUNCTION = '/2015-03-31/functions/orders-api-dev'

/** A stand-in for Lambda's API, with the function as a full deployment left it. */
async function startLambda() {
  const asked: string[] = []
  // biome-ignore lint/suspicious/noExplicitAny: what Lambda is sent, and the expectations check it.
  const sent: Record<string, any> = {}
  const Configuration = {
    FunctionName: 'orders-api-dev',
    Role: ROLE,
    PackageType: 'Zip',
    CodeSha256: 'another',
    State: 'Active',
    LastUpdateStatus: 'Successful',
  }
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const call = `${request.method} ${request.url}`
    asked.push(call)
    if (request.method === 'PUT') sent[String(request.url)] = JSON.parse(Buffer.concat(chunks).toString())
    const isKnown = String(request.url).startsWith(FUNCTION)
    response.writeHead(isKnown ? 200 : 404, { 'content-type': 'application/json' })
    response.end(JSON.stringify(request.method === 'GET' ? { Configuration, Code: {} } : {}))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return { url: `http://127.0.0.1:${port}`, asked, sent }
}

it('when one function is deployed, then its code and variables change, not its role', async () => {
  const project = copyProject()
  onTestFinished(() => project.remove())
  const lambda = await startLambda()
  const variables = {
    HOME: project.folder,
    AWS_ENDPOINT_URL: lambda.url,
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE',
    AWS_SECRET_ACCESS_KEY: 'secret',
    SECRETS_SSM_PATH: '/b2b-orders/dev',
    ORDER_HOLD_MINUTES: '30',
  }
  const args = ['run', 'deploy', '--', 'function', '--function', 'orders']
  const { code, stdout, stderr } = await startCommand('npm', args, variables, project.folder).ended
  expect({ code, said: stdout + stderr }).toMatchObject({ code: 0 })
  expect(new Set(lambda.asked)).toEqual(
    new Set([`GET ${FUNCTION}`, `PUT ${FUNCTION}/code`, `PUT ${FUNCTION}/configuration`]),
  )
  const zip = readZip(Buffer.from(lambda.sent[`${FUNCTION}/code`].ZipFile, 'base64'))
  expect(Object.keys(zip)).toContain('.build/orders/index.mjs')
  const { Role, Environment } = lambda.sent[`${FUNCTION}/configuration`]
  expect(Role ?? ROLE).toBe(ROLE)
  expect(Environment.Variables).toMatchObject({ NODE_ENV: 'production', ORDER_HOLD_MINUTES: '30' })
}, 120_000)
