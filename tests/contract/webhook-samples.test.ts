import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { generateSecret, signedHeaders } from '../../src/webhooks/signature.ts'
import { BINARIES } from '../../testing/programs.ts'

// Runs the receivers that docs/events.md prints against our signatures.

const TEXT = readFileSync('docs/events.md', 'utf8')
const MANIFEST = JSON.parse(readFileSync('package.json', 'utf8'))

interface Sample {
  language: string
  command: string
  args: string[]
  /** Reads cases as JSON, and writes a list of what the sample says of each. */
  rest: string
}

const NODE: Sample = {
  language: 'js',
  command: join(BINARIES, 'node'),
  args: ['--input-type=module', '--eval'],
  rest: `
    import { readFileSync } from 'node:fs'
    const cases = JSON.parse(readFileSync(0, 'utf8'))
    const judge = ({ secret, headers, body }) => verifyWebhook(secret, headers, Buffer.from(body, 'base64'))
    console.log(JSON.stringify(cases.map(judge)))`,
}
const PYTHON: Sample = {
  language: 'python',
  command: 'python3',
  args: ['-c'],
  rest: `
import json, sys
cases = json.load(sys.stdin)
print(json.dumps([verify_webhook(one["secret"], one["headers"], base64.b64decode(one["body"])) for one in cases]))`,
}
/** Node is always there; Python may not be. */
const SAMPLES = spawnSync('python3', ['--version']).status === 0 ? [NODE, PYTHON] : [NODE]

interface Case {
  secret: string
  headers: Record<string, string>
  body: string
}

/** The only code block of a language. */
function sampleOf(language: string): string {
  const [code, ...others] = [...TEXT.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 'gs'))].map(
    ([, code]) => code,
  )
  if (code === undefined || others.length > 0) throw new Error(`docs/events.md must print one sample in ${language}`)
  return code
}

function run({ language, command, args, rest }: Sample, cases: readonly Case[]): unknown {
  const input = JSON.stringify(cases.map(({ body, ...others }) => ({ ...others, body: btoaUtf8(body) })))
  const { status, stdout, stderr } = spawnSync(command, [...args, sampleOf(language) + rest], {
    input,
    encoding: 'utf8',
  })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return JSON.parse(stdout)
}

function btoaUtf8(text: string): string {
  return Buffer.from(text).toString('base64')
}

const SECRET = generateSecret()
const OTHER = generateSecret()
const BODY = JSON.stringify({ id: 'evt_812', type: 'order.placed', data: { name: 'Zoë 株式会社 🏭' } })

/** A message that was signed some seconds ago. */
function message({ body = BODY, secrets = [SECRET] as [string, ...string[]], ago = 0 } = {}): Case {
  const timestampSeconds = Math.floor(Date.now() / 1000) - ago
  return { secret: SECRET, headers: signedHeaders(secrets, { id: 'evt_812', timestampSeconds, body }), body }
}

function changed(header: string, change: (value: string) => string): Case {
  const { headers, ...others } = message()
  return { ...others, headers: { ...headers, [header]: change(headers[header] ?? '') } }
}

function lacking(header: string): Case {
  const { headers, ...others } = message()
  return { ...others, headers: Object.fromEntries(Object.entries(headers).filter(([name]) => name !== header)) }
}

const GOOD: [what: string, one: () => Case][] = [
  ['a JSON body with Unicode', () => message()],
  ['an empty body', () => message({ body: '' })],
  ['a body of full stops', () => message({ body: '..' })],
  ['two signatures, the first right', () => message({ secrets: [SECRET, OTHER] })],
  ['two signatures, the second right', () => message({ secrets: [OTHER, SECRET] })],
  ['a signature of another kind before it', () => changed('webhook-signature', (value) => `v1a,abc ${value}`)],
  ['a clock that is four minutes ahead', () => message({ ago: 240 })],
  ['a clock that is four minutes behind', () => message({ ago: -240 })],
]

const BAD: [what: string, one: () => Case][] = [
  ['another secret', () => message({ secrets: [OTHER] })],
  ['two other secrets', () => message({ secrets: [OTHER, generateSecret()] })],
  ['a changed body', () => ({ ...message(), body: `${BODY} ` })],
  ['an old timestamp', () => message({ ago: 310 })],
  ['a timestamp from the future', () => message({ ago: -310 })],
  ['another timestamp', () => changed('webhook-timestamp', (value) => String(Number(value) - 1))],
  ['a timestamp that is no number', () => changed('webhook-timestamp', () => 'soon')],
  ['an empty timestamp', () => changed('webhook-timestamp', () => '')],
  ['a negative timestamp', () => changed('webhook-timestamp', (value) => `-${value}`)],
  ['a timestamp of 5000 digits', () => changed('webhook-timestamp', () => '9'.repeat(5000))],
  ['a timestamp of other digits', () => changed('webhook-timestamp', () => '²')],
  ['another id', () => changed('webhook-id', () => 'evt_813')],
  ['an empty signature', () => changed('webhook-signature', () => '')],
  ['a signature of another kind', () => changed('webhook-signature', (value) => value.replace('v1,', 'v1a,'))],
  ['half a signature', () => changed('webhook-signature', (value) => value.slice(0, 20))],
  ['a signature without its kind', () => changed('webhook-signature', (value) => value.slice(3))],
  ['a signature outside ASCII', () => changed('webhook-signature', () => 'v1,é株🏭')],
  ['no id', () => lacking('webhook-id')],
  ['no timestamp', () => lacking('webhook-timestamp')],
  ['no signature', () => lacking('webhook-signature')],
]

describe.each(SAMPLES)('the receiver in $language of docs/events.md', (sample) => {
  it.each([
    ['authentic', GOOD, true],
    ['forged', BAD, false],
  ] as const)('when a request is %s, then it says so', (_, cases, authentic) => {
    const verdicts = run(
      sample,
      cases.map(([, one]) => one()),
    )
    expect(verdicts).toHaveLength(cases.length)
    expect(cases.map(([what], index) => [what, Object(verdicts)[index]])).toEqual(
      cases.map(([what]) => [what, authentic]),
    )
  })
})

describe('docs/events.md', () => {
  it.each(['js', 'python', 'java', 'csharp', 'php'])('when it prints %s, then it is some ten lines', (language) => {
    const lines = sampleOf(language).trim().split('\n')
    expect(lines.length).toBeLessThanOrEqual(12)
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(120)
  })

  it('when it names an npm script or links to something, then that exists', () => {
    const scripts = [...TEXT.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name ?? '')
    expect(scripts.filter((name) => MANIFEST.scripts[name] === undefined)).toEqual([])
    const files = [...TEXT.matchAll(/\]\((?!http|#)([^)#]+)/g)].map(([, path]) => path ?? '')
    expect(files.filter((path) => !existsSync(join('docs', path)))).toEqual([])
    const headings = [...TEXT.matchAll(/^#+ (.+)$/gm)].map(([, text]) => `#${text?.toLowerCase().replaceAll(' ', '-')}`)
    const anchors = [...TEXT.matchAll(/\]\((#[^)]+)\)/g)].map(([, anchor]) => anchor ?? '')
    expect(anchors.filter((anchor) => !headings.includes(anchor))).toEqual([])
  })
})
