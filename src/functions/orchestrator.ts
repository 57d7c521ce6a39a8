import { findServiceUrls } from '../compose/service-urls.ts'
import { composeOrchestrator } from '../compose/services.ts'
import { onRequests } from './lambda-handler.ts'

export const handler = onRequests('orchestrator', ['/orchestrator-api'], async ({ env, logger, telemetry }) =>
  composeOrchestrator(env, findServiceUrls(env, ['customers', 'orders']), logger, { draining: false }, telemetry),
)
