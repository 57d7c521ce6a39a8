// Values that replace valid ones. Entries of a table are separated by two or more spaces, or by lines.

export function listed(table: string): string[] {
  return table.split(/\n\s*| {2,}/).filter((entry) => entry !== '')
}

// In bodies: JSON literals and lookalikes

export const WRONG_LITERALS = listed(`{}  []  [[]]  ""  "1"  "x"  0  1  1.5  true  false  {"length":1}  [null]`)

export const ODD_NUMBERS = [
  ...listed(`
    1e308  1e400  -1e400  9007199254740991  9007199254740992  9007199254740993  9223372036854775808  4294967296
    -0  -1  1.5  1e-7  1e0  1.0  0.1e1  1E2  01  +1  .5  1.  0x10  0b1  1_000  1n  １  1e  -  NaN  Infinity  undefined`),
  '9'.repeat(400),
  `0.${'9'.repeat(400)}`,
]

/** Characters whose length differs by unit (characters, code units, bytes), or that have a meaning elsewhere. */
export const ODD_CHARACTERS = [
  ...listed(`ß  İ  ς  Å  é  e\u0301  ﷺ  ﬀ  Ǆ  \u0345  😀  👩‍👩‍👧  🇨🇭  𝕏  𠮷  \u{10ffff}  \ufffd  \uffff  \ufdd0  א  ع`),
  ...['\u202e', '\u200f', '\u2066', '\u200b', '\u200d', '\ufeff', '\u00a0', '\u3000', '\u2028', '\u0085', '\u007f'],
  ...listed(`%  _  \\  '  "  \`  <  &  ;  --  $\{  {{  %00  \\u0000`),
  ...['\t', '\n', '\u0000'],
]

const LENGTHS = [33, 65, 100, 127, 201, 255, 5_000]

/** Between the quotes of a JSON string. */
export const ODD_TEXTS = [
  ...listed(`
    \\u0000  a\\u0000b  \\ud800  \\udc00a  a\\ud83d  \\u001b[31m  \\u007f  a\\nb  \\t  \\u2028  \\ufeff  \\u00a0
    \\x41  \\u12  \\  ' or '1'='1  \u0001  \u001f`),
  ...['', ' ', '   ', ' padded ', '\n'],
  ...ODD_CHARACTERS.filter((one) => !/["\\]/.test(one)),
  ...['x', '😀', 'é', 'א', 'e\u0301', '%', 'a ', ' '].flatMap((one) => LENGTHS.map((length) => one.repeat(length))),
]

export const ODD_NAMES = [
  ...listed(`
    __proto__  constructor  prototype  toString  hasOwnProperty  valueOf  toJSON  then  length  __defineGetter__
    id  ID  price  total_cents  status  version  created_at  $ref  a.b  items[0]  0  -1  null  😀
    \\u0000  \\ud800  \\u005f_proto__`),
  ...['', ' ', 'x'.repeat(1_000)],
]

export const DEEP_LITERALS = [10, 1_000, 10_000].flatMap((levels) => [
  `${'['.repeat(levels)}${']'.repeat(levels)}`,
  `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`,
  '['.repeat(levels),
])

export const LONG_LITERALS = [201, 5_000, 30_000].flatMap((count) =>
  ['0', '[]', 'null', '{}'].map((item) => `[${Array(count).fill(item)}]`),
)

export const BROKEN_JSON: ((text: string) => string)[] = [
  (text) => text.replace(/}$/, ',}'),
  (text) => text.replace('{', '{,'),
  (text) => text.replace(']', ',]'),
  (text) => text.replaceAll('"', "'"),
  (text) => text.replace(/"(\w+)":/, '$1:'),
  (text) => text.replace(':', '='),
  (text) => text.replace('{', '{/* a comment */'),
  (text) => `// a comment\n${text}`,
  (text) => `${text}${text}`,
  (text) => `${text}}`,
  (text) => `${text}\u0000`,
  (text) => `)]}',\n${text}`,
  (text) => `x=${text}`,
  (text) => `[${text}]`,
  (text) => JSON.stringify(text),
  ...listed(`{"a":1,}  undefined  <xml/>`).map((other) => () => other),
]

/** In hex. */
export const NOT_UTF8 = listed('ff  fe  c0af  c080  e080af  eda080  edb080  f09f98  f4908080  f8888080  80  fc  e9')

export const ODD_FORMS = [
  ...listed(`
    &  =  &&&  =&=  grant_type  grant_type=  %  %zz  %C0%AF=1  %00=%00  grant_type=client_credentials
    grant_type=client_credentials&client_id=demo&client_secret=wrong`),
  ...['', 'a'.repeat(5_000)],
]

/** Appended to a valid form. */
export const FORM_ENDS = listed(`
  &grant_type=client_credentials  &client_id=demo  &scope=  &scope=%F0%9F%98%80  &a[]=1  &a[b]=1  &a.b=1  &__proto__=1
  &__proto__[a]=1  &constructor=1  &client_id[]=demo  &scope=%  &scope=%ff  &scope=+  ;a=1  &`)

// In headers: one character is one byte

export const CONTENT_TYPES = [
  ...listed(`
    application/json; charset=utf-8       application/json;charset=UTF-8      APPLICATION/JSON
    Application/Json; Charset="utf-8"     application/json ; charset=utf-8    application/json; charset=utf-16
    application/json; charset=latin1      application/json;                   application/json; x
    application/json; a=1; b=2            application/json, text/plain        application/json\xff
    application/problem+json              application/vnd.api+json            application/merge-patch+json
    application/jsonp  application/json5  application/x-json  application/x-ndjson  application/xml  application/octet-stream
    application/x-www-form-urlencoded     application/x-www-form-urlencoded; charset=utf-8
    multipart/form-data                   multipart/form-data; boundary=x
    text/plain  text/json  application  json  /  */*  application/*  constructor  __proto__`),
  ...['', ' ', 'x'.repeat(4_000)],
]

const TRACE = `00-${'0'.repeat(32)}-${'0'.repeat(16)}-00`

export const CORRELATION_IDS = [
  ...listed(`a b  \xe4  a/b  a,b  <script>  $\{x}  '--  \xff  a.b:c-d_e  ../..`),
  ...['', 'x'.repeat(128), 'x'.repeat(129), 'x'.repeat(4_000)],
]
export const TRACEPARENTS = [
  '',
  'x',
  '00-0-0-00',
  TRACE,
  TRACE.replace('0', 'G'),
  TRACE.replaceAll('0', 'f'),
  '\xff'.repeat(4_000),
]
export const ODD_KEYS = [
  ...listed(`""  "  "a  a"  a b  a\tb  \xe4  \xff  "a" "b"  a,b  a, b  null  __proto__  '--  %00  \\`),
  ...['', ' ', ...[255, 256].flatMap((length) => ['x'.repeat(length), `"${'x'.repeat(length)}"`])],
]
export const IF_MATCHES = [
  ...listed(`*  **  "1"  1  W/"1"  "1", "2"  "0"  "-1"  "1e0"  "01"  "  ,  ,,,  " "  "\xe4"  *, "1"`),
  ...['', `"${'1'.repeat(400)}"`, '"1"'.repeat(500)],
]
export const EXPECTATIONS = ['100-continue', '100-Continue', '100-continue, x', 'x', '']
export const PROTOCOLS = ['h2c', 'websocket', 'TLS/1.0', 'x']
export const CODINGS = ['gzip', 'GZIP', 'br', 'deflate', 'identity', 'x', 'gzip, gzip']
export const ODD_HOSTS = [
  ...listed(`a b  a/b  a:b  a:99999  [::1]  A.Example  \xe4  user@host  a?b  a#b  127.0.0.1:80  ..  a\\b`),
  ...['', ' ', 'x'.repeat(2_000)],
]
export const ODD_HEADER_NAMES = [
  ...listed(`a b  \xe4  a\0  @  [a]  :  (a)  X_Idempotency_Key`),
  ...['', ' ', 'authorization ', 'x'.repeat(4_000)],
]

/** Each with parameters that may follow it. */
export const REPEATED: Record<string, string[]> = {
  authorization: ['Bearer x', 'Basic ZGVtbzpkZW1vLXNlY3JldA==', ''],
  'idempotency-key': ['a-second-key', ''],
  'x-idempotency-key': ['another-key', ''],
  'content-type': ['text/plain', 'application/json'],
  'if-match': ['"1"', '"2"', '*'],
  'x-correlation-id': ['one', 'two words', ''],
  traceparent: ['x', TRACE],
  host: ['b', 'localhost'],
  accept: ['text/html', ''],
  cookie: ['a=1'],
}

/** Headers without effect; `accept` has none either. */
export const IGNORED = [
  ...listed(`
    accept: */*                       accept: text/html               accept: application/xml;q=1    accept: x
    accept: application/json;q=0      accept-encoding: br, *;q=0      accept-encoding: identity;q=0  accept-language: xx
    accept-charset: utf-16            range: bytes=0-                 range: bytes=5-1               if-range: *
    if-modified-since: yesterday      x-http-method-override: DELETE  x-method-override: GET         origin: null
    x-forwarded-for: 127.0.0.1, ' or  x-forwarded-host: evil.example  x-original-url: /health        x-rewrite-url: /health
    forwarded: for=x;host=y;proto=z   cookie: __proto__=1; a          content-md5: x                 te: trailers
    max-forwards: 0                   constructor: x                  __proto__: x                   prefer: return=minimal`),
  'accept: ',
].map((line) => line.split(': '))

export const CREDENTIALS = [
  ...listed(`
    Bearer  bearer x  Bearer a b  Bearer \xe4  Bearer null  Basic  Basic x  Token x  Bearer [a]  Bearer a.b.c  Negotiate  \xff
    Bearer eyJhbGciOiJub25lIn0.e30.  Bearer eyJhbGciOiJIUzI1NiJ9.e30.x  Bearer ,  Bearer __proto__`),
  ...['', ' ', 'Bearer ', 'Bearer\t', `Bearer ${'x'.repeat(8_000)}`],
]
/** Credentials of the demo client and of others. */
export const BASICS = listed(`
  Basic ZGVtbzpkZW1vLXNlY3JldA==  basic ZGVtbzpkZW1vLXNlY3JldA==  Basic ZGVtbzp3cm9uZw==  Basic  Basic !  Basic ZGVtbw==
  Basic Og==  Basic //8=  Basic AAA6AAA=  Basic JTAwOiUwMA==  Basic JTpA  Bearer x  Basic 8J+YgDrwn5iA`)

// In request lines

const PATH_ENDS = [
  ...listed(`
    /  //  /.  /..  %00  %  %zz  %2  ;x=1  %3bx=1  .json  %20  +  %0a  %0d%0aX:%20y  %F0%9F%98%80  %ff  %C0%80  *  :  $  ~  '
    "  <  |  {  ^  \`  [  #  #/x  %23  %3F  \xff  \xc3\xa4  &a=b  =  !  ()  ,`),
]
const PATH_STARTS = listed(`
  /  //  /.  /..  /x/..  /%2e%2e  /x/%2e%2E  /x%2f..  /dev/dev  /DEV  /dev%2f  /devices  /dev/..  /dev/  /docs/..
  /docs/swagger-ui-dist/..`)
const SLASHES = listed(`%2F  \\  %5c  //  /./  /%2e/  %C0%AF  /;/`)
const OTHER_PATHS = listed(`
  /docs/swagger-ui-dist/package.json        /docs/swagger-ui-dist/..%2fpackage.json    /docs/swagger-ui-dist/%2e%2e%2fpackage.json
  /docs/swagger-ui-dist/%252e%252e%252f     /docs/swagger-ui-dist/%00swagger-ui.css    /docs/swagger-ui-dist/__proto__
  /  //  /dev  /docs/  /openapi.json/  /favicon.ico  /__proto__  /{id}  /:id  /*  /..%2f..%2fetc%2fpasswd`)

export const ODD_PATHS: ((path: string) => string)[] = [
  ...PATH_ENDS.map((end) => (path: string) => `${path}${end}`),
  ...PATH_STARTS.map((start) => (path: string) => `${start}${path}`),
  ...SLASHES.map((slash) => (path: string) => path.replaceAll('/', () => slash)),
  ...OTHER_PATHS.map((other) => () => other),
  (path) => path.toUpperCase(),
  (path) => path.replace(/\/(\w)/, '%2f$1'),
  (path) => path.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
  (path) => path.replace(/[a-z]/, (letter) => `%25${letter.charCodeAt(0).toString(16)}`),
]

const ORIGINS = listed(`
  http://localhost  https://localhost  http://evil.example  http://user:word@evil.example:99  http://user@a  HTTP://a  http:  http://
  http:///  http://[  http://a:b  ftp://a  ?  #`)

export const ODD_TARGETS: ((target: string) => string)[] = [
  ...ORIGINS.map((origin) => (target: string) => `${origin}${target}`),
  ...['*', '', '.', 'a:80', 'http://', 'javascript:1'].map((other) => () => other),
  (target) => target.slice(1),
]

export const ODD_IDS: ((id: string) => string)[] = [
  ...listed(`
    0  00  -1  -0  1.5  1e3  0x1  NaN  null  undefined  true  ９  ١  1'  1--  1;x=1  1,2  [1]  {}  __proto__  constructor  1e308
    9007199254740991  9007199254740992  9223372036854775807  9223372036854775808  18446744073709551616`).map(
    (other) => () => other,
  ),
  () => '9'.repeat(400),
  ...['.0', 'e0', ' ', '\n', '\u0000', '\u200b'].map((end) => (id: string) => `${id}${end}`),
  ...['0', '+', ' '].map((start) => (id: string) => `${start}${id}`),
  (id) => `${id}/../${id}`,
]

export const ODD_VALUES = [
  ...listed(`
    0  -1  1  01  100  101  1.0  1e1  +1  0x10  abc  NaN  null  Infinity  1,2  [1]  ９  CREATED  created  X
    2026-01-01                    2026-01-01T00:00:00Z       2026-02-30                 2026-02-30T00:00:00Z
    2026-01-01T24:00:00Z          0000-01-01T00:00:00Z       0999-12-31T23:59:59Z       1000-01-01T00:00:00Z
    9999-12-31T23:59:59.999Z      9999-12-31T23:59:59-23:59  1000-01-01T00:00:00+23:59  2026-01-01T00:00Z
    2026-01-01T00:00:00           2026-01-01 00:00:00Z       2026-12-31T23:59:60Z       2026-1-1
    2026-01-01T00:00:00.1234567890Z                          +002026-01-01T00:00:00Z    20260101
    12026-01-01                   10000-01-01T00:00:00Z      1767225600                 now
    %  _  \u0000  a\u0000b  😀  e\u0301  \u202e  ' or 1=1  \\`),
  ...['', ' 1', '1 ', 'CREATED ', '9'.repeat(400), '_'.repeat(500), 'a '.repeat(100), '😀'.repeat(101)],
  ...['x', '😀', 'ß', 'ﷺ'].flatMap((one) => [one.repeat(200), one.repeat(201)]),
]

export const BROKEN_QUERIES = [
  ...listed(`
    &&&  =  =&=  limit  limit=%  limit=%zz  limit=%31  search=%C0%AF  search=%ff  search=%  search=+  search=%2B  %6cimit=1
    limit=1#  ?limit=1  limit==1  cursor  &limit=1&  limit=1;search=a  \xff=1  search=\xff  []=1`),
  ...[`a=${'x'.repeat(6_000)}`, Array(500).fill('a=1').join('&')],
]
export const UNKNOWN_NAMES = [
  ...listed(
    `limit[]  limit[0]  Limit  offset  page  sort  __proto__  constructor  toString  a[b]  __proto__[a]  %00  search[$ne]`,
  ),
  '',
]
export const METHODS = [
  ...listed(`
    GET  HEAD  OPTIONS  TRACE  POST  PUT  PATCH  DELETE  PROPFIND  QUERY  LINK  PURGE  SEARCH  CONNECT  TRACK  M-SEARCH  SOURCE  PRI
    get  Post  FOO  G E T`),
  ...['', 'GET\t'],
]

/** The content of forged cursors, after the name of the list. */
export const FORGED_CURSORS: unknown[][] = [
  ...[[], [null], [1], ['x'], [[]], [{}], ['x', 1], ['', ''], ['x', null], ['x', 'y', 1], [true, 1]],
  ...[[-1], [0], [1.5], [2 ** 53], [1e308], ['1'], [1, 2]],
  ...['a\u0000b', '\ud800', 'x'.repeat(64), 'x'.repeat(65), '😀'.repeat(32), '2026-01-01T00:00:00.000Z'].map((word) => [
    word,
    1,
  ]),
  ...listed(`
    2026-01-01T00:00:00Z  9999-99-99T99:99:99.999Z  0000-01-01T00:00:00.000Z  2026-02-30T00:00:00.000Z
    2026-01-01T00:00:00.000`).map((time) => [time, 1]),
  ['2026-01-01T00:00:00.000Z', -1],
]
export const NO_CURSORS = [
  ...listed(`%00  !  null  0  e30  W10  bnVsbA  WzFd  %F0%9F%98%80  =  ==  A  -_-_  __proto__  %`),
  ...['x'.repeat(500), 'x'.repeat(501), Buffer.from('['.repeat(370)).toString('base64url'), '__4'],
]

// Between requests

/** `N` stands for the right length. None promises more bytes than are sent: slow callers are tested elsewhere. */
export const ODD_LENGTHS = listed(`N, N  +N  0xN  N.0  -1  x  ${'9'.repeat(30)}`)
export const ODD_CODINGS = listed(`identity  gzip  chunked, identity  xchunked  \x0bchunked`)
export const ODD_CHUNKS = [
  'zz\r\n{}\r\n0\r\n\r\n',
  '-1\r\n{}\r\n0\r\n\r\n',
  '2 \r\n{}\r\n0\r\n\r\n',
  '2\n{}\n0\n\n',
  `${'f'.repeat(18)}\r\n{}`,
]
export const ODD_TRAILERS = [
  'authorization: Bearer x\r\n',
  'content-length: 5\r\n',
  'transfer-encoding: chunked\r\nhost: b\r\n',
]

/** In the text of a request: a pattern and its replacement. */
export const ODD_HEADS: [RegExp, string][] = [
  ...['HTTP/1.0', 'HTTP/0.9', 'HTTP/2.0', 'HTTP/1.10', 'http/1.1', 'ICE/1.0'].map((other): [RegExp, string] => [
    /HTTP\/1\.1/,
    other,
  ]),
  [/ HTTP\/1\.1/, ''],
  [/ /, '  '],
  [/ /, '\t'],
  [/^/, ' '],
  [/^/, '\r\n\r\n'],
  [/^/, '\u0000'],
  [/\r\n/, '\r\n folded\r\n'],
  [/host:/, 'host :'],
  [/host:/, 'host'],
  [/host: localhost\r\n/, ''],
  [/\r\n/g, '\n'],
  [/\r\n/g, '\r'],
  [/\r\n/, '\r\nconnection: close\r\n'],
  [/\r\n/, '\r\nconnection: x, close, keep-alive\r\n'],
  [/\r\n/, '\r\nproxy-connection: close\r\nkeep-alive: timeout=0\r\n'],
]
