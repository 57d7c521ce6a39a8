const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c]
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d]

/** An object with its member names so far, or an array. `at` is the current member's name or the current index. */
interface Scope {
  names: Set<string> | undefined
  at: string | number
}

/**
 * The path of the first duplicate member in a JSON text, such as `items.0.qty`; undefined without one. Of duplicates
 * some readers take the first, others the last (RFC 8259, section 4): one could check what another does not use.
 * One pass, about the cost of `JSON.parse`. For text that is not JSON the result means nothing.
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

/** The first scope is the text itself and has no part in the path. */
function pathTo([, ...scopes]: Scope[]): string {
  return scopes.map(({ at }) => at).join('.')
}

/** The index of the quote that ends a string, or the text's length without one. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start); end !== -1; end = text.indexOf('"', end + 1)) {
    let escapes = end
    while (text.charCodeAt(escapes - 1) === BACKSLASH) escapes--
    if ((end - escapes) % 2 === 0) return end
  }
  return text.length
}

/** Unescapes a name: names that differ only in their escapes are duplicates. */
function nameOf(written: string): string {
  if (!written.includes('\\')) return written
  try {
    return String(JSON.parse(`"${written}"`))
  } catch {
    return written
  }
}
