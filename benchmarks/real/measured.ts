// docs/measured.md: a section a script, each written anew by the script that it names.
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'

const head = `# Measured with a real model

Written by the scripts that are named, in \`benchmarks/real/\`. The model is SmolLM2-135M-Instruct, on this machine's CPU; no API, no key. It is far too
small for most of this: what works is learning from examples. Where a section says nothing else, edits come from a function that adds failures
as turns, so its figures say nothing about evolvers. BIRD's databases are not at hand: no figure here is BIRD. Another type of CPU gives other answers.

`

/** Puts a section into docs/measured.md, in place of what stood there under its name. */
export async function record(name: string, text: string): Promise<void> {
  const at = new URL('../../docs/measured.md', import.meta.url)
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  await mkdir(new URL('.', at), { recursive: true })
  const had = existsSync(at) ? await readFile(at, 'utf8') : ''
  const body = had.slice(Math.max(0, had.indexOf('<!-- '))).trimEnd()
  const block = `${start}\n${text.trimEnd()}\n${end}`
  const from = body.indexOf(start)
  const next = from < 0 ? `${body}\n\n${block}` : body.slice(0, from) + block + body.slice(body.indexOf(end) + end.length)
  await writeFile(at, `${head}${next.trim()}\n`)
}
