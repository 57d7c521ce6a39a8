import type { Env, ParseOptions } from './env.ts'
import { run } from './process.ts'
import { failStart } from './start-failure.ts'

/**
 * Runs a service. `--help` prints the help and does nothing else. Any other argument is refused.
 * @param devDefaults values for absent variables, outside production
 */
export async function runService(
  help: string,
  program: (env: Env) => Promise<void>,
  devDefaults: NonNullable<ParseOptions['devDefaults']> = {},
): Promise<void> {
  const given = process.argv.slice(2)
  if (given.some((argument) => argument === '--help' || argument === '-h')) return console.log(help)
  if (given.length === 0) return run(program, { fail: failStart, devDefaults })
  await failStart(`Unknown option: ${given.join(' ')}\n\n${help}`)
}
