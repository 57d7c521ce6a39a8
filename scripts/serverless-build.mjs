// Builds the functions' bundles before serverless packs, deploys or runs them, so that it never takes old ones.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const BUILD = fileURLToPath(new URL('build-functions.ts', import.meta.url))
const NODE = fileURLToPath(new URL('../node_modules/.bin/node', import.meta.url))

export default class ServerlessBuild {
  constructor(serverless, _options, { log }) {
    const build = () => {
      log.notice('Bundling the functions')
      execFileSync(NODE, [BUILD], { cwd: serverless.serviceDir, stdio: ['ignore', 'ignore', 'inherit'] })
    }
    this.hooks = {
      'before:package:createDeploymentArtifacts': build,
      'before:deploy:function:packageFunction': build,
      'before:offline:start:init': build,
    }
  }
}
