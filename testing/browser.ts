import { existsSync } from 'node:fs'
import { type Browser, chromium, type Locator, type Page } from 'playwright-core'
import { afterAll, beforeAll, onTestFinished } from 'vitest'

const EXECUTABLE = process.env.CHROMIUM_PATH || '/usr/bin/chromium'
const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
const PATIENCE_MS = 15_000
/** Swagger UI fades every button. Drawing those frames without a GPU takes half of the time of a click. */
const NO_ANIMATIONS = '*, *::before, *::after { transition: none !important; animation: none !important }'

/** Whether this run uses a browser. CI always does, so that a missing browser fails there. */
export function runsInBrowser(): boolean {
  if (process.env.CI === 'true' || existsSync(EXECUTABLE)) return true
  const line = '='.repeat(100)
  const how = 'Install Chromium (Debian, Ubuntu: apt-get install chromium) or set CHROMIUM_PATH.'
  console.warn(`\n${line}\nNO PAGE IS TESTED IN A BROWSER: there is no ${EXECUTABLE}.\n${how}\n${line}\n`)
  return false
}

/** A headless Chromium for the surrounding suite. Use it inside tests only. */
export function useBrowser(): () => Browser {
  let browser: Browser | undefined
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: EXECUTABLE, args: QUIET })
  })
  afterAll(() => browser?.close())
  return () => {
    if (browser === undefined) throw new Error('the browser runs inside tests only')
    return browser
  }
}

/** Swagger UI's page, as a person uses it. */
export interface DocsPage {
  page: Page
  /** Requests to other hosts, which were all blocked. */
  foreign: string[]
  /** Errors in the console, and uncaught errors. */
  errors: string[]
  /** The URL of every request. */
  requested: string[]
  title(): Promise<string>
  /** As `GET /orders/{id}`. */
  routes(): Promise<string[]>
  /** Through the dialog: OAuth 2 client credentials with all scopes. @throws Error with the dialog's message */
  logIn(clientId: string, clientSecret: string): Promise<void>
  /** Through the dialog: a given token, for one of the document's schemes. */
  pasteToken(token: string, scheme?: 'bearer' | 'serviceToken'): Promise<void>
  /** @returns the height of the operation in pixels */
  unfold(operation: { tags: string[]; operationId: string }): Promise<number>
  fold(operation: { tags: string[]; operationId: string }): Promise<void>
  /** Tries an operation, unfolded or not, with the values that the page proposes, and waits for the response. */
  execute(operation: { tags: string[]; operationId: string }): Promise<{ status: string; body: string; url: string }>
}

/** Opens a page until the test ends, in a profile of its own. */
export async function openDocs(browser: Browser, url: string): Promise<DocsPage> {
  const docs = await openDocsForSuite(browser, url)
  onTestFinished(() => docs.page.context().close())
  return docs
}

/** Opens a page until the browser ends, in a profile of its own. */
export async function openDocsForSuite(browser: Browser, url: string): Promise<DocsPage> {
  const { origin } = new URL(url)
  const context = await browser.newContext({ viewport: { width: 1280, height: 1600 } })
  const foreign: string[] = []
  await context.route(
    (address) => address.origin !== origin,
    (route) => {
      foreign.push(route.request().url())
      return route.abort()
    },
  )
  const page = await context.newPage()
  page.setDefaultTimeout(PATIENCE_MS)
  const errors: string[] = []
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
  page.on('pageerror', (error) => errors.push(error.message))
  const requested: string[] = []
  page.on('request', (request) => requested.push(request.url()))
  await page.goto(url)
  await page.locator('.opblock').first().waitFor()
  await page.addStyleTag({ content: NO_ANIMATIONS })

  async function authorize(scheme: string, fill: (dialog: Locator) => Promise<void>): Promise<void> {
    await page.locator('.scheme-container button.authorize').click()
    const dialog = page.locator('.auth-container').filter({ has: page.getByRole('heading', { name: scheme }) })
    await fill(dialog)
    await dialog.locator('button.authorize').click()
    const refusal = dialog.locator('.errors')
    await dialog.locator('button', { hasText: 'Logout' }).or(refusal).first().waitFor()
    if (await refusal.isVisible()) throw new Error(await refusal.innerText())
    await page.locator('.close-modal').click()
  }

  const blockOf = ({ tags, operationId }: { tags: string[]; operationId: string }) =>
    page.locator(`#operations-${tags[0]}-${operationId}`)
  const toggle = (block: Locator) => block.locator('.opblock-summary-control').click()
  const isUnfolded = (block: Locator) => block.locator('.opblock-summary-control[aria-expanded=true]').isVisible()

  return {
    page,
    foreign,
    errors,
    requested,
    title: () => page.locator('.info .title').innerText(),
    routes: () =>
      page
        .locator('.opblock-summary')
        .evaluateAll((all) =>
          all.map(
            (one) =>
              `${one.querySelector('.opblock-summary-method')?.textContent} ${one.querySelector('[data-path]')?.getAttribute('data-path')}`,
          ),
        ),
    logIn: (clientId, clientSecret) =>
      authorize('oauth2', async (dialog) => {
        await dialog.locator('#client_id_clientCredentials').fill(clientId)
        await dialog.locator('#client_secret_clientCredentials').fill(clientSecret)
        await dialog.getByText('select all', { exact: true }).click()
      }),
    pasteToken: (token, scheme = 'bearer') =>
      authorize(`${scheme} (http`, (dialog) => dialog.locator('input').fill(token)),
    async unfold(operation) {
      const block = blockOf(operation)
      await toggle(block)
      await block.locator('.responses-table').waitFor()
      return (await block.boundingBox())?.height ?? 0
    },
    fold: (operation) => toggle(blockOf(operation)),
    async execute(operation) {
      const block = blockOf(operation)
      const clear = block.getByRole('button', { name: 'Clear' })
      if (await clear.isVisible()) await clear.click()
      else {
        if (!(await isUnfolded(block))) await toggle(block)
        await block.getByRole('button', { name: 'Try it out' }).click()
      }
      await block.getByRole('button', { name: 'Execute' }).click()
      const answer = block.locator('.live-responses-table tbody .response').first()
      await answer.waitFor()
      const body = answer.locator('.response-col_description .highlight-code pre').first()
      return {
        status: (await answer.locator('.response-col_status').innerText()).trim(),
        // A 204 has none.
        body: (await body.isVisible()) ? await body.innerText() : '',
        url: await block.locator('.request-url pre').innerText(),
      }
    },
  }
}
