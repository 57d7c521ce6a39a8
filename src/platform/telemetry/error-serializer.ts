import { readFileSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { fileURLToPath } from 'node:url'
import { stdSerializers } from 'pino'

/**
 * The log form of a thrown value. An error's stack names the source files. Node's `--enable-source-maps` reads the
 * bundle's map at every start, which costs a third of the start and 67 MiB. This function reads it at the first error.
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
    // Without a map the program runs from its sources.
    return stack
  }
  const read = map
  return stack.replaceAll(/([^\s(]+):(\d+):(\d+)/g, (location, file: string, line: string, column: string) => {
    if (file !== import.meta.url) return location
    const origin = read.findOrigin(Number(line), Number(column))
    return 'fileName' in origin ? `${origin.fileName}:${origin.lineNumber}:${origin.columnNumber}` : location
  })
}
