import { readFileSync } from 'node:fs'

/** The headings of a document of docs/ as GitHub's anchors. */
export function anchorsOf(file: string): string[] {
  const headings = readFileSync(`docs/${file}`, 'utf8').matchAll(/^#+ (.+)$/gm)
  return [...headings].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  )
}
