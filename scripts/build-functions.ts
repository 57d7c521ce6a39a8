import { copyFileSync, mkdirSync, rmSync } from 'node:fs'
import { build, type Plugin } from 'esbuild'

// Each Lambda function becomes one file, .build/<function>/index.mjs, with all it needs and nothing else.
const FUNCTIONS = ['customers', 'orders', 'orchestrator', 'sweep', 'docs']
const OUT = '.build'

/** zod carries its messages in fifty languages, all of them reachable; ours is English. */
const englishOnly: Plugin = {
  name: 'english-only',
  setup({ onLoad }) {
    onLoad({ filter: /zod[\\/]v4[\\/]locales[\\/]index\.c?js$/ }, () => ({ contents: "export { default as en } from './en.js'" }))
  },
}

rmSync(OUT, { recursive: true, force: true })
for (const name of FUNCTIONS) {
  const { metafile } = await build({
    entryPoints: [`src/functions/${name}.ts`],
    outfile: `${OUT}/${name}/index.mjs`,
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
  console.log(`${name}  ${Math.round((metafile.outputs[`${OUT}/${name}/index.mjs`]?.bytes ?? 0) / 1024)} KiB`)
}

// Swagger UI's files are the docs function's alone: the others need not carry them.
const assets = `${OUT}/docs/node_modules/swagger-ui-dist`
mkdirSync(assets, { recursive: true })
for (const file of [
  'package.json',
  'LICENSE',
  'NOTICE',
  'swagger-ui.css',
  'swagger-ui-bundle.js',
  'favicon-32x32.png',
]) {
  copyFileSync(`node_modules/swagger-ui-dist/${file}`, `${assets}/${file}`)
}
