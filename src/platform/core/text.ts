/**
 * Text as it is compared without regard to case: two spellings are the same when their folded forms are equal. Upper
 * case makes ß SS and both sigmas one letter; lower case before it makes ẞ ß. Stored keys follow this function: a
 * change of it needs a migration.
 */
export function foldCase(text: string): string {
  return text.normalize('NFC').toLowerCase().toUpperCase().toLowerCase().normalize('NFC')
}
