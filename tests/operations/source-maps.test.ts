import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { bundleFunction } from '../../scripts/bundling.ts'

it('when a bundled function logs an error, then its stack names the sources', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const bundle = join(folder, 'index.mjs')
  await bundleFunction('src/functions/orchestrator.ts', bundle)
  // In production it does not start without secrets.
  const env = { ...process.env, NODE_ENV: 'production', AWS_LAMBDA_FUNCTION_NAME: 'test', SERVICE_TOKEN: '' }
  const { stdout } = spawnSync('node_modules/.bin/node', [bundle], { env, encoding: 'utf8', timeout: 20_000 })
  const { err } = JSON.parse(stdout)
  expect(err.message).toContain('SERVICE_TOKEN')
  expect(err.stack).toMatch(/src\/compose\/env\.ts:\d+:\d+/)
  expect(err.stack).not.toContain('index.mjs')
})
