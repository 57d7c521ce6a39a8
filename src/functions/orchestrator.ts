import { composeOrchestrator } from '../entrypoints/composing.ts'
import { findNeighbours } from '../entrypoints/neighbours.ts'
import { onRequests } from './handling.ts'

export const handler = onRequests('orchestrator', ['/orchestrator-api'], async ({ env, logger }) =>
  composeOrchestrator(env, findNeighbours(env, ['customers', 'orders']), logger, { draining: false }),
)
