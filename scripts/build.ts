import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { build } from 'esbuild'
import { bundleExporter, copyDocsFiles, exporterAt, forNode } from './bundling.ts'
import { createProgram } from './program.ts'

createProgram(`Bundles every entrypoint and command into dist/, each one file that needs no packages. What sends traces has its own.

  npm run build`).readNothing()

// Bundles every program. dist/entrypoints and dist/commands are as deep as their sources, so `../../db` is the folder
// of migrations for both.
const programs = ['src/entrypoints', 'src/commands'].flatMap((folder) =>
  readdirSync(folder).map((file) => `${folder}/${file}`),
)

const es2024 = readFileSync(new URL('es2024.mjs', import.meta.url), 'utf8')

rmSync('dist', { recursive: true, force: true })
const { metafile } = await build({
  entryPoints: programs,
  outbase: 'src',
  outdir: 'dist',
  ...forNode,
  plugins: [exporterAt('./otlp.js')],
  banner: { js: `${forNode.banner.js}\n${es2024}` },
  sourcemap: true,
  metafile: true,
})
for (const [file, { bytes }] of Object.entries(metafile.outputs)) {
  if (file.endsWith('.js')) console.log(`${file}  ${Math.round(bytes / 1024)} KiB`)
}

await bundleExporter('dist/entrypoints/otlp.js')
copyDocsFiles('dist')
writeFileSync('dist/package.json', '{"type":"module"}\n')
