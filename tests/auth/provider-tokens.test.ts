import { readFileSync } from 'node:fs'
import { parseEnv as parseFile } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { ENVIRONMENT } from '../../testing/access.ts'
import { type IdentityProvider, startIdentityProvider } from '../../testing/identity-provider.ts'
import { expectProblem } from '../../testing/problems.ts'
import { startSystem, type TestSystem } from '../../testing/system.ts'
import { type Claims, secondsFromNow } from '../../testing/tokens.ts'

// Tries the tokens and variables that docs/operations.md shows for identity providers.

interface Documented {
  name: string
  claims: Claims
  variables: Record<string, string>
}

function readDocumented(): Documented[] {
  const [, section = ''] = readFileSync('docs/operations.md', 'utf8').split('\n## Identity providers\n')
  const [, ...parts] = (section.split('\n## ')[0] ?? '').split('\n### ')
  return parts.map((part) => {
    const block = (language: string) => new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 's').exec(part)?.[1] ?? ''
    const variables = Object.entries(parseFile(block('bash'))).map(([name, value]) => [name, value ?? ''])
    return {
      name: part.split('\n')[0] ?? '',
      claims: JSON.parse(block('json')),
      variables: Object.fromEntries(variables),
    }
  })
}

const DOCUMENTED = readDocumented()

let provider: IdentityProvider

beforeAll(async () => {
  provider = await startIdentityProvider()
})
afterAll(() => provider.stop())

/** A system with these variables that trusts the provider of this test. */
async function startWith(variables: Record<string, string>): Promise<TestSystem> {
  const { system, stop } = await startSystem('sqlite', { ...ENVIRONMENT, ...variables, JWKS_URL: provider.jwksUrl })
  onTestFinished(() => stop())
  return system
}

/** The documented token with current times. */
function tokenOf({ claims }: Documented, changes: Claims = {}): Promise<string> {
  const times = { iat: secondsFromNow(0), exp: secondsFromNow(300), ...('nbf' in claims && { nbf: secondsFromNow(0) }) }
  return provider.sign('RS256', { ...claims, ...times, ...changes })
}

it('the documentation shows a token of each provider that it names', () => {
  expect(DOCUMENTED.map(({ name }) => name)).toEqual([
    'Amazon Cognito',
    'Microsoft Entra ID',
    'Okta',
    'Auth0',
    'Keycloak',
  ])
  for (const { variables } of DOCUMENTED) expect(variables.JWKS_URL).toMatch(/^https:/)
})

describe.each(DOCUMENTED.map((documented) => [documented.name, documented] as const))(
  'a token of %s',
  (_, documented) => {
    const { variables } = documented
    const CUSTOMER = variables.JWT_CUSTOMER_CLAIM ?? 'customer_id'

    it('opens what its scopes allow with the documented variables', async () => {
      const system = await startWith(variables)
      const token = await tokenOf(documented)
      expect((await system.orders.get('/orders', { token })).status).toBe(200)
      expect((await system.customers.get('/customers/1', { token })).status).toBe(200)
      expectProblem(await system.orders.get('/products', { token }), 403, 'insufficient_scope')
      expectProblem(await system.orders.get('/orders', { token: `${token}x` }), 401, 'invalid_token')
    })

    it('is bound to the customer that it names, or to none', async () => {
      const system = await startWith(variables)
      const bound = await tokenOf(documented, { [CUSTOMER]: documented.claims[CUSTOMER] ?? 1 })
      const idsSeenBy = async (token: string): Promise<number[]> => {
        const { body } = await system.customers.get('/customers', { token })
        return body.data.map(({ id }: { id: number }) => id)
      }
      expect(await idsSeenBy(bound)).toEqual([1])
      expect((await idsSeenBy(await tokenOf(documented, { [CUSTOMER]: undefined }))).length).toBeGreaterThan(1)
    })

    const needed = Object.keys(variables).filter((name) => !['JWKS_URL', 'JWT_CUSTOMER_CLAIM'].includes(name))

    it.each(needed)('opens nothing without %s', async (name) => {
      const system = await startWith({ ...variables, [name]: '' })
      const response = await system.orders.get('/orders', { token: await tokenOf(documented) })
      expect([401, 403]).toContain(response.status)
    })
  },
)
