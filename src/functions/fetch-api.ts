/**
 * `Headers`, `Request` and `Response` for functions. Node's own load undici, which takes more processor time than the
 * rest of Node's start, so the bundler replaces them with these (`scripts/bundling.ts`). They behave like Node's for
 * whole bodies: a function gets no other body.
 */

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const SPACE_AROUND = /^[\t\n\r ]+|[\t\n\r ]+$/g
/** Forbidden by RFC 9110, section 5.5. */
const FORBIDDEN_IN_VALUE = /[\0\r\n]|[^\0-\xff]/

type HeadersInput = Iterable<readonly [string, string]> | Readonly<Record<string, string>>

class FunctionHeaders {
  /** Header values, by name in lower case. */
  readonly #values = new Map<string, string[]>()

  constructor(init: HeadersInput = []) {
    for (const [name, value] of isIterable(init) ? init : Object.entries(init)) this.append(name, value)
  }

  append(name: string, value: string): void {
    const key = keyOf(name)
    this.#values.set(key, [...(this.#values.get(key) ?? []), normalized(value)])
  }

  set(name: string, value: string): void {
    this.#values.set(keyOf(name), [normalized(value)])
  }

  get(name: string): string | null {
    const key = keyOf(name)
    return this.#values.get(key)?.join(key === 'cookie' ? '; ' : ', ') ?? null
  }

  has(name: string): boolean {
    return this.#values.has(keyOf(name))
  }

  delete(name: string): void {
    this.#values.delete(keyOf(name))
  }

  getSetCookie(): string[] {
    return [...(this.#values.get('set-cookie') ?? [])]
  }

  forEach(visit: (value: string, name: string, headers: FunctionHeaders) => void, self?: unknown): void {
    for (const [name, value] of this) visit.call(self, value, name, this)
  }

  /** The headers sorted by name. Each cookie is an entry of its own. */
  *entries(): Generator<[string, string]> {
    for (const name of [...this.#values.keys()].sort()) {
      if (name === 'set-cookie') for (const cookie of this.getSetCookie()) yield [name, cookie]
      else yield [name, this.get(name) ?? '']
    }
  }

  *keys(): Generator<string> {
    for (const [name] of this) yield name
  }

  *values(): Generator<string> {
    for (const [, value] of this) yield value
  }

  [Symbol.iterator](): Generator<[string, string]> {
    return this.entries()
  }
}

function isIterable(init: HeadersInput): init is Iterable<readonly [string, string]> {
  return Symbol.iterator in init
}

function keyOf(name: string): string {
  if (!NAME.test(name)) throw new TypeError(`${name} is no name of a header`)
  return name.toLowerCase()
}

function normalized(value: string): string {
  const text = String(value).replaceAll(SPACE_AROUND, '')
  if (FORBIDDEN_IN_VALUE.test(text)) throw new TypeError('A header has a value that is none')
  return text
}

type Content = string | Uint8Array<ArrayBuffer> | ArrayBuffer | ReadableStream<Uint8Array<ArrayBuffer>> | null

/** The common part of requests and responses. A body can be read once. */
class Message {
  readonly headers: FunctionHeaders
  readonly #content: Content
  bodyUsed = false

  constructor(content: Content | undefined, headers: HeadersInput | undefined) {
    this.headers = new FunctionHeaders(headers)
    this.#content = content ?? null
    if (typeof content === 'string' && !this.headers.has('content-type')) {
      this.headers.set('content-type', 'text/plain;charset=UTF-8')
    }
  }

  get body(): ReadableStream<Uint8Array<ArrayBuffer>> | null {
    const content = this.#content
    return content === null || content instanceof ReadableStream ? content : new Blob([content]).stream()
  }

  async text(): Promise<string> {
    const content = this.#take()
    return typeof content === 'string' ? content.toWellFormed() : new TextDecoder().decode(await bytesOf(content))
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.text())
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    const { buffer, byteOffset, byteLength } = await bytesOf(this.#take())
    return buffer.slice(byteOffset, byteOffset + byteLength)
  }

  #take(): Content {
    if (this.bodyUsed) throw new TypeError('Body is unusable: Body has already been read')
    this.bodyUsed = this.#content !== null
    return this.#content
  }
}

async function bytesOf(content: Content): Promise<Uint8Array<ArrayBuffer>> {
  if (typeof content === 'string') return new TextEncoder().encode(content)
  if (content instanceof Uint8Array) return content
  if (content instanceof ArrayBuffer) return new Uint8Array(content)
  const chunks: Uint8Array[] = []
  for await (const chunk of content ?? []) chunks.push(chunk)
  return new Uint8Array(Buffer.concat(chunks))
}

interface RequestInput {
  method?: string
  headers?: HeadersInput
  body?: Content
}

const FORBIDDEN_METHODS = /^(CONNECT|TRACE|TRACK)$/i
const METHODS_IN_ANY_CASE = /^(DELETE|GET|HEAD|OPTIONS|POST|PUT)$/i
const WITHOUT_BODY = /^(GET|HEAD)$/

class FunctionRequest extends Message {
  readonly url: string
  readonly method: string

  /** @throws TypeError for a request that can't be sent */
  constructor(input: string | URL, { method = 'GET', headers, body }: RequestInput = {}) {
    super(body, headers)
    const url = new URL(input)
    if (url.username !== '' || url.password !== '') throw new TypeError('A URL of a request names no user')
    this.url = url.href
    if (!NAME.test(method) || FORBIDDEN_METHODS.test(method)) throw new TypeError(`${method} is no method`)
    this.method = METHODS_IN_ANY_CASE.test(method) ? method.toUpperCase() : method
    if (body != null && WITHOUT_BODY.test(this.method)) throw new TypeError(`${this.method} has no body`)
  }
}

interface ResponseInput {
  status?: number
  headers?: HeadersInput
}

class FunctionResponse extends Message {
  readonly status: number

  constructor(body?: Content, { status = 200, headers }: ResponseInput = {}) {
    super(body, headers)
    this.status = status
  }

  get ok(): boolean {
    return this.status >= 200 && this.status <= 299
  }

  static json(value: unknown, init: ResponseInput = {}): FunctionResponse {
    const headers = new FunctionHeaders(init.headers)
    if (!headers.has('content-type')) headers.set('content-type', 'application/json')
    return new FunctionResponse(JSON.stringify(value), { ...init, headers })
  }
}

export const Headers = FunctionHeaders
export const Request = FunctionRequest
export const Response = FunctionResponse
