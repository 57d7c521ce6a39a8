// Builds the functions' bundles before serverless packs, deploys or runs them, so that it never takes old ones; and packs
// nothing that is not fit for production.
import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const BUILD = fileURLToPath(new URL('build-functions.ts', import.meta.url))
const CHECK = fileURLToPath(new URL('check-deployment.ts', import.meta.url))
const NODE = fileURLToPath(new URL('../node_modules/.bin/node', import.meta.url))
const SECRETS = ['SERVICE_TOKEN', 'JWT_SECRET', 'DB_PASS']
const DEPLOYED = '.build'
// A folder of its own: functions that run here must not lose their files while others are packed.
const OFFLINE = '.offline'

export default class ServerlessBuild {
  constructor(serverless, options, { log }) {
    const build = (folder) => {
      log.notice('Bundling the functions')
      execFileSync(NODE, [BUILD, folder], { cwd: serverless.serviceDir, stdio: ['ignore', 'ignore', 'inherit'] })
    }
    const buildToDeploy = () => {
      const { NODE_ENV } = serverless.service.provider.environment
      refuseUnfit(serverless, NODE_ENV)
      const kept = SECRETS.filter((name) => process.env[name])
      const { parameters } = serverless.service.custom
      if (kept.length > 0)
        log.notice(`Not deployed: ${kept.join(', ')}. The functions read theirs from SSM, below ${parameters}`)
      build(DEPLOYED)
    }
    const buildToRun = () => {
      build(OFFLINE)
      runFrom(OFFLINE, serverless.service.functions)
      settleHere(serverless.service)
    }
    this.hooks = {
      'before:package:createDeploymentArtifacts': buildToDeploy,
      'before:deploy:function:packageFunction': () => {
        keepRole(serverless.service, options.function)
        buildToDeploy()
      },
      'after:aws:package:finalize:mergeCustomProviderResources': () => {
        adaptDeployment(serverless.service.provider.compiledCloudFormationTemplate)
      },
      // serverless offline start, and serverless offline.
      'before:offline:start:init': buildToRun,
      'before:offline:start': buildToRun,
    }
  }
}

/** What may not go into production is not packed. @throws what is wrong, for whoever deploys */
function refuseUnfit({ serviceDir, classes }, NODE_ENV) {
  const { status, stderr } = spawnSync(NODE, [CHECK], {
    cwd: serviceDir,
    env: { ...process.env, NODE_ENV },
    encoding: 'utf8',
  })
  if (status !== 0) throw new classes.Error(stderr.trim(), 'NOT_FIT_FOR_PRODUCTION')
}

/**
 * The stage is a resource of its own (serverless.yml), with its limits and its log; so the deployment makes none. A
 * deployment keeps the gateway's responses as they are when it is made, so they come first.
 */
function adaptDeployment({ Resources }) {
  const [responses, deployments] = ['GatewayResponse', 'Deployment'].map((type) =>
    Object.keys(Resources).filter((id) => Resources[id].Type === `AWS::ApiGateway::${type}`),
  )
  for (const id of deployments) {
    delete Resources[id].Properties.StageName
    Resources[id].DependsOn.push(...responses)
  }
}

/** One function is deployed without the template, which alone knows its role by name: it keeps the one that it has. */
function keepRole({ functions, provider: { remoteFunctionData } }, name) {
  functions[name].role = remoteFunctionData.Configuration.Role
}

/** What a deployment has defaults of its own for; here those of development hold. */
const DEPLOYED_DEFAULTS = ['ORCHESTRATOR_PUBLIC', 'CUSTOMERS_API_BASE', 'ORDERS_API_BASE', 'DB_TLS']

/** Functions that run here are for development, unless somebody says otherwise, and ask nobody for secrets. */
function settleHere({ provider, functions }) {
  provider.environment.NODE_ENV = process.env.NODE_ENV || 'development'
  for (const { environment } of Object.values(functions)) {
    if (environment === undefined) continue
    delete environment.SSM_PARAMETERS
    for (const name of DEPLOYED_DEFAULTS) if (name in environment) environment[name] = process.env[name] ?? ''
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
