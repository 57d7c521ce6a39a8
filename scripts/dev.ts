import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { onParentExit } from '../src/compose/process.ts'
import { createProgram } from './program.ts'

const { interruption, readNothing } =
  createProgram(`Runs all three services in one process, as npm start does, and starts them again when a file changes.

  npm run dev`)

readNothing()
const all = fileURLToPath(new URL('../src/entrypoints/all.ts', import.meta.url))
const watcher = spawn(process.execPath, ['--watch', all], { stdio: 'inherit' })
watcher.once('exit', (code) => process.exit(code ?? 0))
const stop = () => watcher.kill('SIGTERM')
interruption.addEventListener('abort', stop)
onParentExit(stop)
