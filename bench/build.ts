import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { bundleExporter, exporterAt, forNode } from '../scripts/bundling.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const PROGRAMS = {
  'src/entrypoints': ['customers', 'orders', 'orchestrator', 'all'],
  'bench/baseline': ['customers', 'orders', 'orchestrator'],
} as const

/**
 * Bundles the programs of all systems into the folder, as the image does: production does not run sources, and reading
 * them would count as memory of the services.
 */
export async function buildPrograms(folder: string): Promise<void> {
  const programs = Object.entries(PROGRAMS).flatMap(([from, names]) => names.map((name) => `${from}/${name}.ts`))
  await build({
    ...forNode,
    absWorkingDir: ROOT,
    plugins: [exporterAt('./otlp.js')],
    entryPoints: programs,
    outbase: '.',
    outdir: join(folder, 'programs'),
  })
  await bundleExporter(join(folder, 'programs/src/entrypoints/otlp.js'), ROOT)
  writeFileSync(join(folder, 'programs', 'package.json'), '{"type":"module"}\n')
  symlinkSync(join(ROOT, 'db'), join(folder, 'programs', 'db'))
}

/** The options of the image. `npm start`, with all services in one process, uses Node's defaults. */
export const IMAGE_OPTIONS = ['--max-semi-space-size=8']
export const IMAGE_VARIABLES = { MALLOC_ARENA_MAX: '2' }

/** The path of a program that {@link buildPrograms} made. */
export function programIn(folder: string, from: keyof typeof PROGRAMS, name: string): string {
  return join(folder, 'programs', from, `${name}.js`)
}
