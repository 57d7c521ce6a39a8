import { type ParsedVariables, whole } from '../core/variables.ts'

export const rpcVariables = {
  HTTP_TIMEOUT_MS: whole(1, 29_000).default(5000),
}

export interface RpcConfig {
  /** The time limit of one call to another service. */
  httpTimeoutMs: number
}

export function rpcConfigOf(vars: ParsedVariables<typeof rpcVariables>): RpcConfig {
  return { httpTimeoutMs: vars.HTTP_TIMEOUT_MS }
}
