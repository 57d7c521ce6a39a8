import { createRequire } from 'node:module'
import { build, type Metafile, type Plugin } from 'esbuild'

/** A function that starts reads all that is in its bundle, so what none of them can use is left out of it. */
const trims: Plugin[] = [
  // zod carries its messages in fifty languages, all of them reachable; ours is English.
  replaceModule(/zod[\\/]v4[\\/]locales[\\/]index\.c?js$/, () => "export { default as en } from './en.js'"),
  // mysql2 decodes what is not in an encoding of Node's own with these: all text comes in the connection's utf8mb4, or
  // in MySQL's older utf8 (CESU-8), which is among the internal ones.
  replaceModule(/iconv-lite[\\/]encodings[\\/]index\.js$/, () => "module.exports = require('./internal.js')"),
  // What writes logs from a thread of its own: we let none.
  replaceModule(/pino[\\/]lib[\\/]transport\.js$/, () => 'module.exports = undefined'),
  // Four thousand assignments, as one text that is parsed at once.
  replaceModule(/mysql2[\\/]lib[\\/]constants[\\/]errors\.js$/, asData),
]

/** Bundles one Lambda function to one file, with all it needs and nothing else. */
export async function bundleFunction(source: string, outfile: string, plugins = trims): Promise<Metafile> {
  const { metafile } = await build({
    entryPoints: [source],
    outfile,
    bundle: true,
    minify: true,
    platform: 'node',
    target: 'node22',
    format: 'esm',
    sourcemap: 'linked',
    sourcesContent: false,
    metafile: true,
    plugins,
    external: ['pino-pretty', 'swagger-ui-dist'],
    // mysql2 is CommonJS and requires Node's own modules.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  })
  return metafile
}

function replaceModule(path: RegExp, contentsOf: (path: string) => string): Plugin {
  return {
    name: `replace ${path.source}`,
    setup({ onLoad }) {
      onLoad({ filter: path }, (args) => ({ contents: contentsOf(args.path) }))
    },
  }
}

/** A CommonJS module that exports nothing but numbers and texts. */
function asData(path: string): string {
  const json = JSON.stringify(createRequire(import.meta.url)(path))
  return `module.exports = JSON.parse(${JSON.stringify(json)})`
}
