import { auditBooks, type Finding } from '../src/audit/service.ts'
import type { TestSystem } from './system.ts'

type Difference = { check: string } & Finding['differences'][number]

/** What does not hold in the books of a system, each with the check that found it. */
export async function differencesIn({ db, env }: TestSystem): Promise<Difference[]> {
  const { findings } = await auditBooks(db, env.orders)
  return findings.flatMap(({ check, differences }) => differences.map((difference) => ({ check, ...difference })))
}
