const MAX_WORD = 64

/**
 * Latin letters that Unicode does not decompose, each followed by its plain form. Stored words follow this table: changing it
 * needs a migration like `0003_fold_words`. Letters of other scripts stay as they are.
 */
const PLAIN = new Map(
  'ßss æae œoe þth øo ɔo đd ðd ɖd ɗd łl ƚl ħh ŧt ƭt ŋn ɲn ĸk ƙk ɓb ƀb ƥp ƒf ǥg ɣg ɛe əe ɨi ʉu ʋv ƴy ƶz'
    .split(' ')
    .map(([letter = '', ...plain]) => [letter, plain.join('')]),
)
const NOT_PLAIN = new RegExp(`[${[...PLAIN.keys()].join('')}]`, 'g')

/**
 * The distinct words of some texts, without case, accents and strokes, split at everything that is neither a letter nor a
 * digit. Stored texts and search texts both pass through here, so they match.
 */
export function tokenize(...texts: string[]): string[] {
  const withoutMarks = texts.join(' ').normalize('NFKD').replace(/\p{M}/gu, '')
  const plain = foldCase(withoutMarks).replace(NOT_PLAIN, (letter) => PLAIN.get(letter) ?? letter)
  const words = plain.split(/[^\p{L}\p{N}]+/u).filter((word) => word !== '')
  return [...new Set(words.map((word) => Array.from(word).slice(0, MAX_WORD).join('')))]
}

/** Goes through upper case, where ß becomes SS, and uses one sigma: lower case has a second one for the end of a word. */
function foldCase(text: string): string {
  return text.toUpperCase().toLowerCase().replaceAll('ς', 'σ')
}
