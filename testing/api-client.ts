/** A whole response. `body` is the parsed JSON, or the text where it is not JSON. */
export interface ApiResponse {
  status: number
  headers: Headers
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests read responses of every shape, and their expectations check them.
  body: any
}

export interface ApiRequest {
  /** Sent as JSON; a string is sent unchanged. */
  body?: unknown
  headers?: Record<string, string>
  /** Replaces the client's own token; null sends none. */
  token?: string | null
  signal?: AbortSignal
}

export interface ApiClient {
  base: string
  get(path: string, request?: ApiRequest): Promise<ApiResponse>
  post(path: string, body?: unknown, request?: ApiRequest): Promise<ApiResponse>
  put(path: string, body?: unknown, request?: ApiRequest): Promise<ApiResponse>
  patch(path: string, body?: unknown, request?: ApiRequest): Promise<ApiResponse>
  delete(path: string, request?: ApiRequest): Promise<ApiResponse>
  call(method: string, path: string, request?: ApiRequest): Promise<ApiResponse>
}

/** Calls one service over HTTP. @param ownToken sent with every request that names no other */
export function apiClient(base: string, ownToken: string): ApiClient {
  async function call(method: string, path: string, request: ApiRequest = {}): Promise<ApiResponse> {
    const { body, headers = {}, token = ownToken, signal = null } = request
    const response = await fetch(`${base}${path}`, {
      method,
      signal,
      headers: {
        ...(token !== null && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, body: parse(text) }
  }
  return {
    base,
    call,
    get: (path, request) => call('GET', path, request),
    post: (path, body, request) => call('POST', path, { ...request, body }),
    put: (path, body, request) => call('PUT', path, { ...request, body }),
    patch: (path, body, request) => call('PATCH', path, { ...request, body }),
    delete: (path, request) => call('DELETE', path, request),
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
