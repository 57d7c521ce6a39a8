import { sql } from 'kysely'
import type { Database } from '../src/platform/database/types.ts'

/** The description of a table that both engines can give. */
export interface TableShape {
  columns: { name: string; nullable: boolean; holds: 'integer' | 'text'; byDefault: string | null }[]
  primaryKey: string[]
  indexes: { name: string; unique: boolean; columns: string[] }[]
  foreignKeys: { columns: string[]; table: string; references: string[] }[]
}

type Row = Record<string, string | number | null>

/** Kysely's own tables are not part of the schema. */
const OURS = (column: string) => sql.raw(`${column} not like 'kysely%'`)

async function rowsOf(db: Database, query: ReturnType<typeof sql<Row>>): Promise<Row[]> {
  return (await query.execute(db)).rows
}

/** The information_schema of a MySQL or MariaDB database, in a fixed order. */
export async function informationSchema(db: Database) {
  return {
    tables: await rowsOf(
      db,
      sql`select table_name as name, engine as engine, table_collation as collation, table_comment as comment
        from information_schema.tables where table_schema = database() and ${OURS('table_name')} order by 1`,
    ),
    columns: await rowsOf(
      db,
      sql`select table_name as tbl, ordinal_position as position, column_name as name, column_type as type,
          is_nullable as nullable, column_default as by_default, extra as extra, character_set_name as charset,
          collation_name as collation, column_comment as comment
        from information_schema.columns where table_schema = database() and ${OURS('table_name')} order by 1, 2`,
    ),
    indexes: await rowsOf(
      db,
      sql`select table_name as tbl, index_name as name, seq_in_index as position, column_name as col,
          non_unique as repeats, sub_part as part, collation as direction, index_type as type
        from information_schema.statistics where table_schema = database() and ${OURS('table_name')} order by 1, 2, 3`,
    ),
    foreignKeys: await rowsOf(
      db,
      sql`select k.table_name as tbl, k.constraint_name as name, k.ordinal_position as position, k.column_name as col,
          k.referenced_table_name as to_table, k.referenced_column_name as to_column, r.update_rule as on_update,
          r.delete_rule as on_delete
        from information_schema.key_column_usage k
        join information_schema.referential_constraints r
          on r.constraint_schema = k.constraint_schema and r.constraint_name = k.constraint_name
        where k.table_schema = database() order by 1, 2, 3`,
    ),
    checks: await rowsOf(
      db,
      sql`select constraint_name as name, check_clause as clause
        from information_schema.check_constraints where constraint_schema = database() order by 1`,
    ),
  }
}

/** The tables of a MySQL or MariaDB database, by name. */
export async function mysqlTables(db: Database): Promise<Record<string, TableShape>> {
  const { tables, columns, indexes, foreignKeys } = await informationSchema(db)
  const of = (rows: Row[], table: Row) => rows.filter(({ tbl }) => tbl === table.name)
  return Object.fromEntries(
    tables.map((table) => {
      const keys = [...Map.groupBy(of(indexes, table), ({ name }) => String(name))]
      const links = [...Map.groupBy(of(foreignKeys, table), ({ name }) => String(name)).values()]
      const shape: TableShape = {
        columns: of(columns, table).map(({ name, type, nullable, by_default }) => ({
          name: String(name),
          nullable: nullable === 'YES',
          holds: /int/.test(String(type)) ? 'integer' : 'text',
          // MariaDB writes NULL where MySQL has no default.
          byDefault: by_default === 'NULL' ? null : by_default === null ? null : String(by_default),
        })),
        primaryKey: keys.flatMap(([name, parts]) => (name === 'PRIMARY' ? parts.map(({ col }) => String(col)) : [])),
        indexes: keys
          .filter(([name]) => name !== 'PRIMARY')
          .map(([name, parts]) => ({
            name,
            unique: parts.some(({ repeats }) => repeats === 0),
            columns: parts.map(({ col }) => String(col)),
          })),
        foreignKeys: links.map((parts) => ({
          columns: parts.map(({ col }) => String(col)),
          table: String(parts[0]?.to_table),
          references: parts.map(({ to_column }) => String(to_column)),
        })),
      }
      return [String(table.name), sorted(shape)]
    }),
  )
}

/** The tables of an SQLite database, by name. */
export async function sqliteTables(db: Database): Promise<Record<string, TableShape>> {
  const tables = await rowsOf(
    db,
    sql`select name from sqlite_schema where type = 'table' and name not like 'sqlite%' and ${OURS('name')}`,
  )
  const shapes: Record<string, TableShape> = {}
  for (const table of tables) {
    const columns = await rowsOf(db, sql`select * from pragma_table_xinfo(${table.name}) order by cid`)
    const lists = await rowsOf(db, sql`select * from pragma_index_list(${table.name}) where origin <> 'pk'`)
    const links = await rowsOf(db, sql`select * from pragma_foreign_key_list(${table.name}) order by id, seq`)
    const indexes: TableShape['indexes'] = []
    for (const { name, unique } of lists) {
      const parts = await rowsOf(db, sql`select name from pragma_index_info(${name}) order by seqno`)
      indexes.push({ name: String(name), unique: unique === 1, columns: parts.map((part) => String(part.name)) })
    }
    shapes[String(table.name)] = sorted({
      columns: columns.map(({ name, type, notnull, pk, dflt_value }) => ({
        name: String(name),
        nullable: notnull === 0 && pk === 0,
        holds: type === 'INTEGER' ? 'integer' : 'text',
        byDefault: dflt_value === null ? null : String(dflt_value),
      })),
      primaryKey: columns
        .filter(({ pk }) => pk !== 0)
        .sort((a, b) => Number(a.pk) - Number(b.pk))
        .map(({ name }) => String(name)),
      indexes,
      foreignKeys: [...Map.groupBy(links, ({ id }) => id).values()].map((parts) => ({
        columns: parts.map(({ from }) => String(from)),
        table: String(parts[0]?.table),
        references: parts.map(({ to }) => String(to)),
      })),
    })
  }
  return shapes
}

function sorted(shape: TableShape): TableShape {
  return {
    ...shape,
    indexes: shape.indexes.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    foreignKeys: shape.foreignKeys.toSorted((a, b) => (String(a.columns) < String(b.columns) ? -1 : 1)),
  }
}

/** The named constraints in the text of a schema, each on a line of its own: `CONSTRAINT x CHECK (y > 0)`. */
export function constraintsIn(text: string): string[] {
  return Array.from(text.matchAll(/^ *(CONSTRAINT .*?),?$/gm), ([, constraint = '']) => constraint).sort()
}
