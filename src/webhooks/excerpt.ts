export const MAX_EXCERPT_BYTES = 1024
/** Control characters but tab and line ends, and those that change the direction of text. */
const UNPRINTABLE = /[^\P{Cc}\t\n\r]|\p{Bidi_Control}/gu

/**
 * The start of a response's body, as text that is safe to store and show: well-formed, without control characters, at most
 * {@link MAX_EXCERPT_BYTES} long in UTF-8. Bytes that are not UTF-8 become `�`.
 * @param encoding the `Content-Encoding`; an encoded body is not shown
 */
export function excerptOf(body: Uint8Array, encoding: string | undefined): string {
  if (encoding !== undefined && encoding !== 'identity') return '(encoded, although the request asked for no encoding)'
  // As a stream: a character that is cut at the end is dropped.
  const text = new TextDecoder().decode(body.subarray(0, MAX_EXCERPT_BYTES), { stream: true })
  return cut(text.replace(UNPRINTABLE, '\u{FFFD}'))
}

/** A `�` can be longer than what it replaces. */
function cut(text: string): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(MAX_EXCERPT_BYTES))
  return text.slice(0, read)
}
