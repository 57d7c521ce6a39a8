// A stand-in for Lambda's runtime: loads the handler that its argument names, as `folder/file.name` below the task root,
// answers its parent's events, and logs why one failed. After the parent disconnects, the process ends when nothing
// holds it open.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [, , named = ''] = process.argv
const dot = named.lastIndexOf('.')
const file = join(process.env.LAMBDA_TASK_ROOT ?? '', `${named.slice(0, dot)}.mjs`)
const { [named.slice(dot + 1)]: handler } = await import(pathToFileURL(file).href)

process.on('message', async ({ id, event }: { id: number; event?: unknown }) => {
  // Look after this message is handled: what would hold an idle process open?
  if (event === undefined) {
    setImmediate(() => process.send?.({ id, result: process.getActiveResourcesInfo() }))
    return
  }
  try {
    process.send?.({ id, result: await handler(event, contextOf(id)) })
  } catch (error) {
    console.error('Invoke Error', error)
    process.send?.({ id, error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) })
  }
})
process.send?.({ id: 0 })

function contextOf(id: number) {
  return {
    awsRequestId: `request-${id}`,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: '$LATEST',
    memoryLimitInMB: '512',
    getRemainingTimeInMillis: () => 28_000,
  }
}
