import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

/** The options with which Lambda's runtime starts Node, as far as V8's cache depends on them. */
export const RUNTIME_OPTIONS = ['--expose-gc']
/** The user id of functions on Lambda. Node names each user's cache by its id. */
const RUNTIME_USER = 993
/**
 * With a fixed seed a bundle's cache is the same, byte for byte. The compiled code in it does not depend on the seed.
 */
const SAME_EACH_TIME = '--random-seed=1'
/** V8 writes the bundle's path into the cache. This path is the same for every folder; only Linux has it. */
const HERE = '/proc/self/cwd'

/**
 * Writes the entry `<folder>/index.mjs`, which loads the bundle `<folder>/app.mjs`, and V8's cache of the bundle. Node
 * uses the cache only if its version, processor type and options match; otherwise it compiles the bundle.
 */
export function addCompileCache(folder: string): void {
  writeFileSync(`${folder}/index.mjs`, ENTRY)
  const entry = pathToFileURL(`${existsSync(HERE) ? HERE : folder}/index.mjs`).href
  const load = ['--preserve-symlinks', '--input-type=module', '--eval', `await import('${entry}'); process.exit()`]
  // The environment is nearly empty: with Lambda's variables, the function would start and look for its database.
  const env = { PATH: process.env.PATH }
  execFileSync(process.execPath, [...RUNTIME_OPTIONS, SAME_EACH_TIME, ...load], {
    cwd: folder,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  giveCacheTo(RUNTIME_USER, `${folder}/cache`)
}

/** Renames the cache for another user. */
export function giveCacheTo(user: number, cache: string): void {
  for (const name of readdirSync(cache)) {
    const [version, architecture, tag] = name.split('-')
    renameSync(`${cache}/${name}`, `${cache}/${version}-${architecture}-${tag}-${user}`)
  }
}

// The entry checks the version: another version may lack this function, or expect another form of the directory.
const ENTRY = `import module from 'node:module'
import { fileURLToPath } from 'node:url'

if (process.version === '${process.version}') {
  module.enableCompileCache({ directory: fileURLToPath(new URL('cache', import.meta.url)), portable: true })
}
export const { handler } = await import('./app.mjs')
`
