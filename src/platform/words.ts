const LONGEST_WORD = 64
const MOST_WORDS = 60

/**
 * The distinct words of some texts as search knows them: lower case, without accents, cut at anything that is
 * neither a letter nor a digit. What is stored and what is asked for both pass through here, so they meet.
 */
export function wordsOf(...texts: string[]): string[] {
  const plain = texts.join(' ').normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()
  const words = plain.split(/[^\p{L}\p{N}]+/u).filter((word) => word !== '')
  return [...new Set(words.map((word) => Array.from(word).slice(0, LONGEST_WORD).join('')))].slice(0, MOST_WORDS)
}
