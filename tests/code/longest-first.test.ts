import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { LONG_FILES } from '../../testing/longest-first.ts'
import { ROOT } from '../../testing/programs.ts'

it('when a file is listed as long, then it exists', () => {
  expect(LONG_FILES.filter((file) => !existsSync(join(ROOT, file)))).toEqual([])
})
