import { trusted } from './trusted.ts'

/** What a connection is connected to, as far as it changes what may be sent there. */
export interface MysqlServer {
  /** A node of a Galera cluster: other nodes' writes can end a transaction between any two of its statements. */
  isGalera: boolean
  /** A member of MySQL's Group Replication. */
  isGroupMember: boolean
}

/** Asks what the server is. Every server of the family answers, with rows for the variables that it has. */
export const SERVER_QUESTION =
  "show variables where variable_name in ('wsrep_on', 'wsrep_provider', 'group_replication_group_name')"

/** @param rows the server's answer to {@link SERVER_QUESTION} */
export function serverOf(rows: unknown): MysqlServer {
  const variables = new Map(
    trusted<{ Variable_name: string; Value: string }[]>(rows).map(({ Variable_name, Value }) => [Variable_name, Value]),
  )
  const hasProvider = !['', 'none'].includes(variables.get('wsrep_provider') ?? '')
  return {
    isGalera: hasProvider && variables.get('wsrep_on') === 'ON',
    isGroupMember: Boolean(variables.get('group_replication_group_name')),
  }
}

/**
 * What a session is told on such a server, so that it reads what any other node has committed. A server alone needs none.
 */
export function sessionSettingsOn({ isGalera, isGroupMember }: MysqlServer): string[] {
  if (isGalera) return ['set session wsrep_sync_wait = 1']
  return isGroupMember ? ["set session group_replication_consistency = 'BEFORE'"] : []
}
