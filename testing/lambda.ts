import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { RUNTIME_OPTIONS } from '../scripts/compile-cache.ts'
import type { Variables } from './fixture.ts'
import type { UnpackedFunction } from './packages.ts'
import { captureOutput, type LogLine, logLines, within } from './programs.ts'

const NODE = fileURLToPath(new URL('../node_modules/.bin/node', import.meta.url))
const RUNTIME = fileURLToPath(new URL('lambda-runtime.ts', import.meta.url))

/** An instance of a function: one process, which handles one event at a time. */
export interface LambdaInstance {
  pid: number
  /** Resolves with the handler's result. Rejects with `name: message` of its error. */
  invoke(event: unknown): Promise<unknown>
  /** The kinds of resources that hold the process open, without the pipes to its parent. */
  heldOpenBy(): Promise<string[]>
  stdout(): string
  stderr(): string
  /** The lines that the function logged so far. */
  log(): LogLine[]
  /** Ends the events. Resolves with the exit code when the process has ended by itself. */
  hangUp(): Promise<number | null>
  stop(): Promise<void>
}

interface Pending {
  resolve(result: unknown): void
  reject(error: Error): void
}

/**
 * Starts an instance as Lambda does: in the folder of the unpacked function, with only the variables that Lambda and
 * the template set.
 * @param variables override those of the template, and replace its references
 */
export async function startInstanceOf(unpacked: UnpackedFunction, variables: Variables): Promise<LambdaInstance> {
  const child = spawn(NODE, [...RUNTIME_OPTIONS, RUNTIME, unpacked.handler], {
    cwd: unpacked.folder,
    env: {
      AWS_LAMBDA_FUNCTION_NAME: unpacked.name,
      AWS_REGION: 'us-east-1',
      LAMBDA_TASK_ROOT: unpacked.folder,
      ...unpacked.variables,
      // The databases of the tests have no TLS.
      DB_TLS: 'off',
      ...variables,
    },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const { stdout, stderr } = captureOutput(child)
  const output = () => `${unpacked.name}\n${stdout()}\n${stderr()}`
  const pending = new Map<number, Pending>()
  // Not `close`, which never comes after the parent closed the channel.
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  ended.then((code) => {
    for (const { reject } of pending.values()) reject(new Error(`the process ended with ${code}\n${output()}`))
  })
  child.on('message', ({ id, result, error }: { id: number; result?: unknown; error?: string }) => {
    const waiting = pending.get(id)
    pending.delete(id)
    if (error === undefined) waiting?.resolve(result)
    else waiting?.reject(new Error(error))
  })

  const replyTo = (id: number) =>
    within(
      new Promise<unknown>((resolve, reject) => pending.set(id, { resolve, reject })),
      () => `no reply\n${output()}`,
    )
  let lastId = 0
  let turn: Promise<unknown> = replyTo(0)
  function send(message: { event?: unknown }): Promise<unknown> {
    const id = ++lastId
    const reply = turn.then(() => {
      child.send({ id, ...message })
      return replyTo(id)
    })
    turn = reply.catch(() => {})
    return reply
  }
  await turn

  return {
    pid: child.pid ?? 0,
    invoke: (event) => send({ event }),
    async heldOpenBy() {
      const kinds = (await send({})) as string[]
      return kinds.filter((kind) => !/^Pipe|^Immediate$/.test(kind))
    },
    stdout,
    stderr,
    log: () => logLines(stdout()),
    hangUp() {
      if (child.connected) child.disconnect()
      return within(ended, () => `the process did not end\n${output()}`)
    },
    async stop() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
