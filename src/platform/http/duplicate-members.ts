const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c]
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d]

/** An object and the names of its members so far, or an array; and where in it the scan is. */
interface Scope {
  names: Set<string> | undefined
  at: string | number
}

/**
 * The path of the first member that an object in a JSON text has twice, such as `items.0.qty`; undefined where none has.
 * Of two such members some readers take the first and some the last (RFC 8259, section 4): what one has checked, another
 * would not do. One pass, at about the cost of `JSON.parse`. What it says of a text that is no JSON means nothing.
 */
export function findDoubledMember(text: string): string | undefined {
  const scopes: Scope[] = []
  let scope: Scope = { names: undefined, at: 0 }
  let isName = false
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) {
      const end = endOfString(text, i + 1)
      if (isName && scope.names) {
        scope.at = nameOf(text.slice(i + 1, end))
        if (scope.names.has(scope.at)) return pathTo([...scopes, scope])
        scope.names.add(scope.at)
        isName = false
      }
      i = end
    } else if (code === COMMA) {
      if (typeof scope.at === 'number') scope.at++
      else isName = true
    } else if (code === OPEN_OBJECT || code === OPEN_ARRAY) {
      scopes.push(scope)
      isName = code === OPEN_OBJECT
      scope = isName ? { names: new Set(), at: '' } : { names: undefined, at: 0 }
    } else if (code === CLOSE_OBJECT || code === CLOSE_ARRAY) {
      scope = scopes.pop() ?? scope
      isName = false
    }
  }
  return undefined
}

/** The first scope is that of the text itself. */
function pathTo([, ...scopes]: Scope[]): string {
  return scopes.map(({ at }) => at).join('.')
}

/** Where the quote is that ends a string; the text's end where none does. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start); end !== -1; end = text.indexOf('"', end + 1)) {
    let escapes = end
    while (text.charCodeAt(escapes - 1) === BACKSLASH) escapes--
    if ((end - escapes) % 2 === 0) return end
  }
  return text.length
}

/** Names are the same that are so once their escapes are read. */
function nameOf(written: string): string {
  if (!written.includes('\\')) return written
  try {
    return String(JSON.parse(`"${written}"`))
  } catch {
    return written
  }
}
