import type { ChildProcess } from 'node:child_process'

/**
 * Gives a child process a task, and hears its messages until one of them is the result.
 * @param hear returns the result, or undefined for a message on the way
 * @throws Error when the child ends or the time is over, and the reason of `stop`
 */
export function converse<M, R>(
  child: ChildProcess,
  { task, hear, limitMs, stop, name }: Conversation<M, R>,
): Promise<R> {
  return new Promise((resolve, reject) => {
    const settle = (end: () => void) => {
      clearTimeout(timer)
      child.off('message', onMessage)
      child.off('exit', onExit)
      stop.removeEventListener('abort', onAbort)
      end()
    }
    const onMessage = (message: M) => {
      const result = hear(message)
      if (result !== undefined) settle(() => resolve(result))
    }
    const onExit = () => settle(() => reject(new Error(`${name}: the load generator has ended`)))
    const onAbort = () => settle(() => reject(stop.reason))
    const timer = setTimeout(() => settle(() => reject(new Error(`${name}: the load does not end`))), limitMs)
    if (stop.aborted) return onAbort()
    stop.addEventListener('abort', onAbort)
    child.on('message', onMessage)
    child.on('exit', onExit)
    child.send(task)
  })
}

interface Conversation<M, R> {
  task: object
  hear(message: M): R | undefined
  limitMs: number
  stop: AbortSignal
  /** For errors. */
  name: string
}

/** For a load generator: sends a message to the process that started it. */
export function postToParent(message: object): void {
  process.send?.(message)
}

/** Makes this process a load generator, which ends when its parent lets go of it. */
export function onTask<T>(perform: (task: T) => Promise<void>): void {
  // Ctrl-C reaches the whole group of processes.
  process.on('SIGINT', () => {})
  process.on('disconnect', () => process.exit(0))
  process.on('message', perform)
}
