// Installs what the lockfile says when it is not there yet, so that `npm start` and `npm test` work straight after
// `git clone`. Runs on whatever Node started npm; the lockfile's `node` package then runs everything else.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const root = new URL('..', import.meta.url)
if (
  !existsSync(new URL('node_modules/.package-lock.json', root)) ||
  !existsSync(new URL('node_modules/.bin/node', root))
) {
  console.error('Installing the packages of package-lock.json, once …')
  const started = Date.now()
  const { status } = spawnSync('npm', ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: process.platform === 'win32',
  })
  if (status !== 0) {
    console.error('npm ci failed; its messages are above.')
    process.exit(1)
  }
  console.error(`Installed in ${Math.round((Date.now() - started) / 1000)} s.`)
}
