import { flag, type ParsedVariables, whole } from '../platform/core/variables.ts'

export const orchestratorVariables = {
  ORCHESTRATOR_DEADLINE_MS: whole(1, 29_000).default(10_000),
  ORCHESTRATOR_PUBLIC: flag.optional(),
}

export interface OrchestratorConfig {
  /** The response is sent within this time, however long the upstreams take. */
  deadlineMs: number
  /** Whether callers need no token. */
  public: boolean
}

export function orchestratorConfigOf(
  vars: ParsedVariables<typeof orchestratorVariables>,
  production: boolean,
): OrchestratorConfig {
  return {
    deadlineMs: vars.ORCHESTRATOR_DEADLINE_MS,
    // Outside production one curl must be enough to try the system. Production is open only where the variable says so.
    public: vars.ORCHESTRATOR_PUBLIC ?? !production,
  }
}
