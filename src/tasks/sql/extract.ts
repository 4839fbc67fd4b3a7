// The SQL in an answer.
import { tagged } from '../chat.ts'

/** The query between the last `<answer>` tags, else in the last closed ```sql block; undefined where there is neither. */
export function sqlIn(text: string): string | undefined {
  const answer = tagged(text)
  return (answer ? (blockIn(answer) ?? unfenced(answer)) : blockIn(text)) || undefined
}

/** Inside of the last ```sql … ``` block. */
function blockIn(text: string): string | undefined {
  const start = [...text.matchAll(/```sql(?:ite)?\b/gi)].at(-1)
  if (!start) return undefined
  const from = start.index + start[0].length
  const end = text.indexOf('```', from)
  return end < 0 ? undefined : text.slice(from, end).trim()
}

/** Without the plain fence that some models put around it. */
function unfenced(text: string): string {
  return text.startsWith('```') && text.endsWith('```') ? text.slice(3, -3).trim() : text
}
