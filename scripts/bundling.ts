import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { decode, encode, type SourceMapSegment } from '@jridgewell/sourcemap-codec'
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild'

/** The options that all bundles share. */
export const forNode = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  // Only developers' terminals need pino-pretty. Swagger UI's files are read, not imported.
  external: ['pino-pretty', 'swagger-ui-dist'],
  // mysql2 is CommonJS, so it loads Node's own modules by `require`.
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
} as const satisfies BuildOptions

const DOCS_FILES = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png']

/** Copies Swagger UI's files to `folder`, in the package folder where the bundles look for them. */
export function copyDocsFiles(folder: string): void {
  const copy = `${folder}/node_modules/swagger-ui-dist`
  mkdirSync(copy, { recursive: true })
  for (const file of ['package.json', 'LICENSE', 'NOTICE', ...DOCS_FILES]) {
    copyFileSync(`node_modules/swagger-ui-dist/${file}`, `${copy}/${file}`)
  }
}

/** Loads `node:http` by `require`. An import reads every export, and the export `WebSocket` loads Node's `fetch`. */
const requireHttp: Plugin = {
  name: 'require node:http',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:http$/ }, ({ kind }) =>
      kind === 'import-statement' ? { path: 'node:http', namespace: 'required' } : undefined,
    )
    onLoad({ filter: /^/, namespace: 'required' }, () => ({ contents: "module.exports = require('node:http')" }))
  },
}

/** Of the project's manifest, only the version is used. */
const versionAlone: Plugin = {
  name: 'version of package.json',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]package\.json$/ }, ({ path }) => {
      if (path.includes('node_modules')) return undefined
      const { version }: { version: string } = JSON.parse(readFileSync(path, 'utf8'))
      return { contents: JSON.stringify({ version }), loader: 'json' }
    })
  },
}

/**
 * Leaves what sends traces out of a bundle, which then loads it from `path`: a process that sends none has nothing of it.
 * @param path relative to the bundle
 */
export function exporterAt(path: string): Plugin {
  return {
    name: 'exporter of traces in a file of its own',
    setup({ onResolve }) {
      onResolve({ filter: /\/otlp\.ts$/ }, ({ kind }) =>
        kind === 'dynamic-import' ? { path, external: true } : undefined,
      )
    },
  }
}

/** Bundles what {@link exporterAt} leaves out. Of packages' ES modules only what is used is kept: a fifth. */
export async function bundleExporter(outfile: string, absWorkingDir = process.cwd()): Promise<void> {
  const entryPoints = ['src/platform/telemetry/otlp.ts']
  await build({
    ...forNode,
    absWorkingDir,
    entryPoints,
    outfile,
    mainFields: ['module', 'main'],
    minify: true,
    plugins: [versionAlone],
  })
}

/** Removes code that no function can use: a function reads its whole bundle when it starts. */
const trims: Plugin[] = [
  // zod includes its messages in fifty languages; only the English ones are used.
  replaceModule(/zod[\\/]v4[\\/]locales[\\/]index\.c?js$/, () => "export { default as en } from './en.js'"),
  // All schemas are written as code, so none is made from JSON Schema.
  replaceModule(/zod[\\/]v4[\\/]classic[\\/]from-json-schema\.js$/, () => 'export const fromJSONSchema = undefined'),
  // mysql2 needs these to decode encodings that Node lacks. All text arrives in the connection's utf8mb4, or in MySQL's
  // older utf8 (CESU-8), which is one of the internal encodings.
  replaceModule(/iconv-lite[\\/]encodings[\\/]index\.js$/, () => "module.exports = require('./internal.js')"),
  // Writes logs from a thread of its own, which no service uses.
  replaceModule(/pino[\\/]lib[\\/]transport\.js$/, () => 'module.exports = undefined'),
  // Four thousand names of errors become one text, which is parsed at the first error.
  replaceModule(/mysql2[\\/]lib[\\/]constants[\\/]errors\.js$/, asData),
  versionAlone,
  requireHttp,
]

/** Bundles one Lambda function into one file that contains everything it needs. */
export async function bundleFunction(source: string, outfile: string, plugins = trims): Promise<Metafile> {
  const { metafile } = await build({
    entryPoints: [source],
    outfile,
    ...forNode,
    minify: true,
    sourcemap: 'linked',
    sourcesContent: false,
    metafile: true,
    plugins: [...plugins, exporterAt('./otlp.mjs')],
    ...(plugins === trims && { inject: ['src/functions/fetch-api.ts'] }),
  })
  thinOut(`${outfile}.map`)
  return metafile
}

interface SourceMapFile {
  sources: string[]
  names: string[]
  mappings: string
}

/** For packages, keeps only the lines in a source map: columns and names would take half of the zip. */
function thinOut(file: string): void {
  const map: SourceMapFile = JSON.parse(readFileSync(file, 'utf8'))
  const names = new Map<string, number>()
  const renamed = (name: number) => {
    const text = map.names[name] ?? ''
    names.set(text, names.get(text) ?? names.size)
    return names.get(text) ?? 0
  }
  const isOfPackage = ([, source = -1]: SourceMapSegment) => map.sources[source]?.includes('/node_modules/') === true
  const kept = (segment: SourceMapSegment): SourceMapSegment => {
    const [column, source, line, sourceColumn, name] = segment
    if (segment.length === 1 || source === undefined || line === undefined || sourceColumn === undefined) return segment
    if (isOfPackage(segment)) return [column, source, line, 0]
    return name === undefined ? segment : [column, source, line, sourceColumn, renamed(name)]
  }
  const isNews = (segment: SourceMapSegment, i: number, all: SourceMapSegment[]) =>
    !isOfPackage(segment) || all[i - 1]?.[1] !== segment[1] || all[i - 1]?.[2] !== segment[2]
  const lines = decode(map.mappings).map((segments) => segments.map(kept).filter(isNews))
  writeFileSync(file, JSON.stringify({ ...map, mappings: encode(lines), names: [...names.keys()] }))
}

function replaceModule(path: RegExp, contentsOf: (path: string) => string): Plugin {
  return {
    name: `replace ${path.source}`,
    setup({ onLoad }) {
      onLoad({ filter: path }, (args) => ({ contents: contentsOf(args.path) }))
    },
  }
}

/** Makes a CommonJS module whose exports are parsed at their first use. Exports must be numbers and strings. */
function asData(path: string): string {
  const json = JSON.stringify(createRequire(import.meta.url)(path))
  return `let all
const read = () => (all ??= JSON.parse(${JSON.stringify(json)}))
module.exports = new Proxy({}, { get: (_, name) => read()[name] })`
}
