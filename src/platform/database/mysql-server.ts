import { unsafeCast } from '../core/unsafe-cast.ts'

/** What a server says about itself. */
export interface MysqlServer {
  /** The server's own host name and port: two addresses of one server have the same name. */
  name: string
  isReadOnly: boolean
  /** A node of a Galera cluster: other nodes' writes can end a transaction between any two of its statements. */
  isGalera: boolean
  /** A member of MySQL's Group Replication. */
  isGroupMember: boolean
}

const READ_ONLY = ['read_only', 'super_read_only', 'innodb_read_only']
const VARIABLES = ['hostname', 'port', 'wsrep_on', 'wsrep_provider', 'group_replication_group_name', ...READ_ONLY]

/** Asks what kind of server it is. Servers of the whole family answer with the variables that they have. */
export const SERVER_QUERY = `show variables where variable_name in (${VARIABLES.map((name) => `'${name}'`).join(', ')})`

/** @param rows the result of {@link SERVER_QUERY} */
export function serverOf(rows: unknown): MysqlServer {
  const variables = new Map(
    unsafeCast<{ Variable_name: string; Value: string }[]>(rows).map(({ Variable_name, Value }) => [
      Variable_name,
      Value,
    ]),
  )
  const hasProvider = !['', 'none'].includes(variables.get('wsrep_provider') ?? '')
  return {
    name: `${variables.get('hostname')}:${variables.get('port')}`,
    isReadOnly: READ_ONLY.some((name) => variables.get(name) === 'ON'),
    isGalera: hasProvider && variables.get('wsrep_on') === 'ON',
    isGroupMember: Boolean(variables.get('group_replication_group_name')),
  }
}

/**
 * The settings with which a session reads everything that other nodes have committed. A single server needs none.
 */
export function sessionSettingsOn({ isGalera, isGroupMember }: MysqlServer): string[] {
  if (isGalera) return ['set session wsrep_sync_wait = 1']
  return isGroupMember ? ["set session group_replication_consistency = 'BEFORE'"] : []
}
