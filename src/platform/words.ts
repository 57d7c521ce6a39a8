const LONGEST_WORD = 64

/**
 * The distinct words of some texts as search knows them: without case and accents, cut at anything that is neither a
 * letter nor a digit. What is stored and what is asked for both pass through here, so they meet.
 */
export function wordsOf(...texts: string[]): string[] {
  const plain = foldCase(texts.join(' ').normalize('NFKD').replace(/\p{M}/gu, ''))
  const words = plain.split(/[^\p{L}\p{N}]+/u).filter((word) => word !== '')
  return [...new Set(words.map((word) => Array.from(word).slice(0, LONGEST_WORD).join('')))]
}

/** By way of upper case, where ß is SS; and with one sigma, where lower case would have another at the end of a word. */
function foldCase(text: string): string {
  return text.toUpperCase().toLowerCase().replaceAll('ς', 'σ')
}
