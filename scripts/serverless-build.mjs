// Builds the functions' bundles before serverless packs, deploys or runs them, so that it never takes old ones.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const BUILD = fileURLToPath(new URL('build-functions.ts', import.meta.url))
const NODE = fileURLToPath(new URL('../node_modules/.bin/node', import.meta.url))
const DEPLOYED = '.build'
// A folder of its own: functions that run here must not lose their files while others are packed.
const OFFLINE = '.offline'

export default class ServerlessBuild {
  constructor(serverless, _options, { log }) {
    const build = (folder) => {
      log.notice('Bundling the functions')
      execFileSync(NODE, [BUILD, folder], { cwd: serverless.serviceDir, stdio: ['ignore', 'ignore', 'inherit'] })
    }
    const warn = () => {
      const { NODE_ENV } = serverless.service.provider.environment
      if (NODE_ENV !== 'production') {
        log.warning(`NODE_ENV=${NODE_ENV}, from the environment or .env: these functions take published secrets`)
      }
    }
    this.hooks = {
      'before:package:createDeploymentArtifacts': () => {
        warn()
        build(DEPLOYED)
      },
      'before:deploy:function:packageFunction': () => build(DEPLOYED),
      'before:offline:start:init': () => {
        build(OFFLINE)
        runFrom(OFFLINE, serverless.service.functions)
      },
    }
  }
}

/** Points the functions to their bundles; of those that OFFLINE_FUNCTIONS does not name, none is run. */
function runFrom(folder, functions) {
  const wanted = process.env.OFFLINE_FUNCTIONS?.split(',') ?? Object.keys(functions)
  for (const [name, definition] of Object.entries(functions)) {
    if (wanted.includes(name)) definition.handler = definition.handler.replace(`${DEPLOYED}/`, `${folder}/`)
    else delete functions[name]
  }
}
