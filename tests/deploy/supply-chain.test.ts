import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

interface Locked {
  version?: string
  integrity?: string
  dev?: boolean
  devOptional?: boolean
  optional?: boolean
  hasInstallScript?: boolean
}

const MANIFEST: Record<'dependencies' | 'devDependencies', Record<string, string>> = JSON.parse(
  readFileSync('package.json', 'utf8'),
)
const { packages }: { packages: Record<string, Locked> } = JSON.parse(readFileSync('package-lock.json', 'utf8'))
const production = Object.entries(packages).filter(
  ([path, { dev, devOptional }]) => path !== '' && !dev && !devOptional,
)

it('when a dependency is named, then its version is exact and equals the lockfile’s', () => {
  for (const [name, version] of Object.entries({ ...MANIFEST.dependencies, ...MANIFEST.devDependencies })) {
    expect({ name, version }).toEqual({ name, version: expect.stringMatching(/^(npm:[\w@/-]+@)?\d+\.\d+\.\d+$/) })
    expect(packages[`node_modules/${name}`]?.version).toBe(version.replace(/^npm:.*@/, ''))
  }
})

it('when production needs a package, then it has a hash and no install script', () => {
  expect(production.length).toBeGreaterThanOrEqual(Object.keys(MANIFEST.dependencies).length)
  for (const name of Object.keys(MANIFEST.dependencies)) {
    expect(production.map(([path]) => path)).toContain(`node_modules/${name}`)
  }
  const unpinned = production.filter(([, { integrity }]) => !integrity?.startsWith('sha512-'))
  expect(unpinned.map(([path]) => path)).toEqual([])
  const withScripts = production.filter(([, { hasInstallScript }]) => hasInstallScript === true)
  expect(withScripts.map(([path]) => path)).toEqual([])
})

it('when the image is built, then no install script runs, and it is not run as root', () => {
  const stages = readFileSync('Dockerfile', 'utf8').split(/^FROM /m)
  const install = stages.flatMap((stage) => stage.split('\n').filter((line) => /\bnpm (ci|install)\b/.test(line)))
  expect(install).toEqual([expect.stringContaining('--ignore-scripts')])
  const instructions = (stages.at(-1) ?? '').split('\n')
  const user = instructions.indexOf('USER 1000:1000')
  expect(user).toBeGreaterThan(0)
  expect(user).toBeLessThan(instructions.findIndex((line) => line.startsWith('CMD')))
  expect(instructions.filter((line) => line.startsWith('USER'))).toEqual(['USER 1000:1000'])
})

it('when tests/clients name tools, then their versions are exact', () => {
  const { dependencies } = JSON.parse(readFileSync('tests/clients/node/package.json', 'utf8'))
  for (const version of Object.values(dependencies)) expect(version).toMatch(/^\d+\.\d+\.\d+$/)
  const requirements = readFileSync('tests/clients/python/requirements.txt', 'utf8').trim().split('\n')
  for (const requirement of requirements) expect(requirement).toMatch(/^[\w.-]+==[\w.]+$/)
  const versions = [...readFileSync('tests/clients/java/pom.xml', 'utf8').matchAll(/<version>(.*?)</g)]
  for (const [, version] of versions) expect(version).toMatch(/^[\d.]+$/)
})
