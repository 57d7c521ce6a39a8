import { fileURLToPath } from 'node:url'
import { cruise } from 'dependency-cruiser'
import config from '../.dependency-cruiser.ts'

const PLATFORM = 'platform/'

/** docs/rooms.md: the rooms of `src` and the imports between them. */
export async function roomsText(): Promise<string> {
  const edges = await readEdges()
  const inside = edges.filter(({ from }) => from.startsWith(PLATFORM))
  const outside = edges.filter(({ from }) => !from.startsWith(PLATFORM))
  return `# Rooms

Each box is a folder of \`src\`; an arrow says that one imports the other, a dotted one that it imports only types.
\`npm run architecture\` draws it from the code, and a test fails when it no longer shows the code.

\`\`\`mermaid
flowchart TD
${outside.map((edge) => `  ${lineOf(edge)}`).join('\n')}
  subgraph platform
${inside.map((edge) => `    ${lineOf(edge)}`).join('\n')}
  end
\`\`\`
`
}

interface Edge {
  from: string
  to: string
  typeOnly: boolean
}

/** The imports between rooms, each once. Outside the platform, imports of its rooms count as imports of one room. */
async function readEdges(): Promise<Edge[]> {
  const baseDir = fileURLToPath(new URL('..', import.meta.url))
  const { output } = await cruise(['src'], { ...config.options, baseDir })
  if (typeof output === 'string') throw new Error(output)
  const edges = new Map<string, Edge>()
  for (const { source, dependencies } of output.modules) {
    for (const { resolved, dependencyTypes } of dependencies) {
      const edge = edgeBetween(source, resolved)
      if (edge === undefined) continue
      const key = `${edge.from} ${edge.to}`
      const typeOnly = dependencyTypes.includes('type-only') && (edges.get(key)?.typeOnly ?? true)
      edges.set(key, { ...edge, typeOnly })
    }
  }
  return [...edges].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, edge]) => edge)
}

function edgeBetween(source: string, resolved: string): Omit<Edge, 'typeOnly'> | undefined {
  const from = roomOf(source)
  const room = roomOf(resolved)
  if (source.endsWith('.test.ts') || from === undefined || room === undefined || from === room) return undefined
  return { from, to: room.startsWith(PLATFORM) && !from.startsWith(PLATFORM) ? 'platform' : room }
}

/** The folder of `src` that contains a file. Each folder of the platform is a room of its own. */
function roomOf(path: string): string | undefined {
  return /^src\/((?:platform\/)?[^/]+)\//.exec(path)?.[1]
}

function lineOf({ from, to, typeOnly }: Edge): string {
  return `${nodeOf(from)} ${typeOnly ? '-.->' : '-->'} ${nodeOf(to)}`
}

/** The names of Mermaid's nodes can't contain a slash, so the label shows the room. */
function nodeOf(room: string): string {
  return room.startsWith(PLATFORM) ? `${room.replace('/', '_')}[${room.slice(PLATFORM.length)}]` : room
}
