import { build, type Metafile, type Plugin } from 'esbuild'

/** zod carries its messages in fifty languages, all of them reachable; ours is English. */
const englishOnly: Plugin = {
  name: 'english-only',
  setup({ onLoad }) {
    onLoad({ filter: /zod[\\/]v4[\\/]locales[\\/]index\.c?js$/ }, () => ({ contents: "export { default as en } from './en.js'" }))
  },
}

/** Bundles one Lambda function to one file, with all it needs and nothing else. */
export async function bundleFunction(source: string, outfile: string): Promise<Metafile> {
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
    plugins: [englishOnly],
    external: ['pino-pretty', 'swagger-ui-dist'],
    // mysql2 is CommonJS and requires Node's own modules.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  })
  return metafile
}
