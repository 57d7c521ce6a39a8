import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

/** What Lambda's runtime starts Node with, as far as V8's cache depends on it. */
export const RUNTIME_OPTIONS = ['--expose-gc']
/** The user that functions run as: Node names the cache of each user by its number. */
const RUNTIME_USER = 993
/** One bundle then has one cache, byte for byte. What is in the cache does not depend on it. */
const SAME_EACH_TIME = '--random-seed=1'
/** V8 writes the bundle's path into the cache. This one is the same wherever the folder lies; only Linux has it. */
const HERE = '/proc/self/cwd'

/**
 * Makes the entry of a function, `<folder>/index.mjs`, which loads the bundle `<folder>/app.mjs`; and beside it V8's
 * cache of the bundle, so that a start need not compile it. Node takes it where it is this version of Node, for this kind
 * of processor, with these options; else it compiles, as without a cache.
 */
export function addCompileCache(folder: string): void {
  writeFileSync(`${folder}/index.mjs`, ENTRY)
  const entry = pathToFileURL(`${existsSync(HERE) ? HERE : folder}/index.mjs`).href
  const load = ['--preserve-symlinks', '--input-type=module', '--eval', `await import('${entry}'); process.exit()`]
  // Not with this program's environment: in Lambda's, a function starts and looks for its database.
  const env = { PATH: process.env.PATH }
  execFileSync(process.execPath, [...RUNTIME_OPTIONS, SAME_EACH_TIME, ...load], {
    cwd: folder,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  giveCacheTo(RUNTIME_USER, `${folder}/cache`)
}

/** The same cache for another user. */
export function giveCacheTo(user: number, cache: string): void {
  for (const name of readdirSync(cache)) {
    const [version, architecture, tag] = name.split('-')
    renameSync(`${cache}/${name}`, `${cache}/${version}-${architecture}-${tag}-${user}`)
  }
}

// Another version may have no such function, or want its directory in another form.
const ENTRY = `import module from 'node:module'
import { fileURLToPath } from 'node:url'

if (process.version === '${process.version}') {
  module.enableCompileCache({ directory: fileURLToPath(new URL('cache', import.meta.url)), portable: true })
}
export const { handler } = await import('./app.mjs')
`
