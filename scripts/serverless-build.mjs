// Builds the functions' bundles before serverless packs, deploys or runs them, so that it never uses old ones. It
// refuses to pack what is unfit for production.
import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const BUILD = fileURLToPath(new URL('build-functions.ts', import.meta.url))
const CHECK = fileURLToPath(new URL('check-deployment.ts', import.meta.url))
const NODE = fileURLToPath(new URL('../node_modules/.bin/node', import.meta.url))
const SECRETS = ['SERVICE_TOKEN', 'JWT_SECRET', 'DB_PASS', 'WEBHOOK_KEYS']
const DEPLOYED = '.build'
// A separate folder: packing must not remove the files of functions that run here.
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

/** Stops the packing of an environment that is unfit for production. @throws the faults, for the operator */
function refuseUnfit({ serviceDir, classes }, NODE_ENV) {
  const { status, stderr } = spawnSync(NODE, [CHECK], {
    cwd: serviceDir,
    env: { ...process.env, NODE_ENV },
    encoding: 'utf8',
  })
  if (status !== 0) throw new classes.Error(stderr.trim(), 'NOT_FIT_FOR_PRODUCTION')
}

/**
 * serverless.yml defines the stage as a resource with limits and a log, so the deployment must not create it. A
 * deployment captures the gateway's responses at its creation, so the responses must be created first.
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

/** The deployment of a single function has no template to look up its role, so the function keeps its current role. */
function keepRole({ functions, provider: { remoteFunctionData } }, name) {
  functions[name].role = remoteFunctionData.Configuration.Role
}

/** These variables have defaults of their own in a deployment. Functions that run here use those of development. */
const DEPLOYED_DEFAULTS = ['ORCHESTRATOR_PUBLIC', 'CUSTOMERS_API_BASE', 'ORDERS_API_BASE', 'DB_TLS']

/** Functions that run here default to development, and read no secrets from SSM. */
function settleHere({ provider, functions }) {
  provider.environment.NODE_ENV = process.env.NODE_ENV || 'development'
  for (const { environment } of Object.values(functions)) {
    if (environment === undefined) continue
    delete environment.SSM_PARAMETERS
    for (const name of DEPLOYED_DEFAULTS) if (name in environment) environment[name] = process.env[name] ?? ''
  }
}

/** Points the functions to their bundles, and removes those that OFFLINE_FUNCTIONS does not name. */
function runFrom(folder, functions) {
  const wanted = process.env.OFFLINE_FUNCTIONS?.split(',') ?? Object.keys(functions)
  for (const [name, definition] of Object.entries(functions)) {
    if (wanted.includes(name)) definition.handler = definition.handler.replace(`${DEPLOYED}/`, `${folder}/`)
    else delete functions[name]
  }
}
