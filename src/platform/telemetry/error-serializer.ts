import { readFileSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { fileURLToPath } from 'node:url'
import { stdSerializers } from 'pino'

/**
 * What was thrown, as it is logged: of an error, its stack in terms of the sources. Node's `--enable-source-maps` does
 * that too, but reads the bundle's map at every start, which takes as long as half of all the rest, and keeps 67 MiB of
 * it; this reads it when there is an error.
 */
export function serializeError(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return thrown
  const serialized = stdSerializers.err(thrown)
  serialized.stack = toSources(serialized.stack)
  return serialized
}

let map: SourceMap | undefined

function toSources(stack: string): string {
  try {
    map ??= new SourceMap(JSON.parse(readFileSync(`${fileURLToPath(import.meta.url)}.map`, 'utf8')))
  } catch {
    // There is none: it runs from its sources.
    return stack
  }
  const read = map
  return stack.replaceAll(/([^\s(]+):(\d+):(\d+)/g, (place, file: string, line: string, column: string) => {
    if (file !== import.meta.url) return place
    const origin = read.findOrigin(Number(line), Number(column))
    return 'fileName' in origin ? `${origin.fileName}:${origin.lineNumber}:${origin.columnNumber}` : place
  })
}
