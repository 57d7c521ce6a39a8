import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { build } from 'esbuild'

// Bundles every program: dist/entrypoints and dist/commands lie as deep as their sources, so that `../../db` is the
// folder of migrations from there too.
const programs = ['src/entrypoints', 'src/commands'].flatMap((folder) =>
  readdirSync(folder).map((file) => `${folder}/${file}`),
)
const notPrograms = ['composing.ts', 'neighbours.ts', 'running.ts', 'command-line.ts']

rmSync('dist', { recursive: true, force: true })
const { metafile } = await build({
  entryPoints: programs.filter(
    (file) => !notPrograms.some((name) => file.endsWith(name)) && !file.endsWith('.test.ts'),
  ),
  outbase: 'src',
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node22',
  format: 'esm',
  sourcemap: true,
  metafile: true,
  // pino-pretty is for terminals of developers; Swagger UI's files are read, not imported.
  external: ['pino-pretty', 'swagger-ui-dist'],
  // mysql2 is CommonJS and requires Node's own modules.
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
})
for (const [file, { bytes }] of Object.entries(metafile.outputs)) {
  if (file.endsWith('.js')) console.log(`${file}  ${Math.round(bytes / 1024)} KiB`)
}

// Swagger UI's two files, as the package they come from: where a bundle looks for it first.
mkdirSync('dist/node_modules/swagger-ui-dist', { recursive: true })
for (const file of [
  'package.json',
  'LICENSE',
  'NOTICE',
  'swagger-ui.css',
  'swagger-ui-bundle.js',
  'favicon-32x32.png',
]) {
  copyFileSync(`node_modules/swagger-ui-dist/${file}`, `dist/node_modules/swagger-ui-dist/${file}`)
}
writeFileSync('dist/package.json', '{"type":"module"}\n')
