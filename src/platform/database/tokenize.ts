const MAX_WORD = 64

/**
 * Latin letters that Unicode does not take apart, each before what it is found by. Stored words follow this table: a
 * change of it needs a migration like `0003_fold_words`. Letters of other scripts stay as they are.
 */
const PLAIN = new Map(
  'ßss æae œoe þth øo ɔo đd ðd ɖd ɗd łl ƚl ħh ŧt ƭt ŋn ɲn ĸk ƙk ɓb ƀb ƥp ƒf ǥg ɣg ɛe əe ɨi ʉu ʋv ƴy ƶz'
    .split(' ')
    .map(([letter = '', ...plain]) => [letter, plain.join('')]),
)
const NOT_PLAIN = new RegExp(`[${[...PLAIN.keys()].join('')}]`, 'g')

/**
 * The distinct words of some texts as search knows them: without case, accents and strokes, cut at anything that is
 * neither a letter nor a digit. What is stored and what is asked for both pass through here, so they meet.
 */
export function tokenize(...texts: string[]): string[] {
  const withoutMarks = texts.join(' ').normalize('NFKD').replace(/\p{M}/gu, '')
  const plain = foldCase(withoutMarks).replace(NOT_PLAIN, (letter) => PLAIN.get(letter) ?? letter)
  const words = plain.split(/[^\p{L}\p{N}]+/u).filter((word) => word !== '')
  return [...new Set(words.map((word) => Array.from(word).slice(0, MAX_WORD).join('')))]
}

/** By way of upper case, where ß is SS; and with one sigma, where lower case would have another at the end of a word. */
function foldCase(text: string): string {
  return text.toUpperCase().toLowerCase().replaceAll('ς', 'σ')
}
