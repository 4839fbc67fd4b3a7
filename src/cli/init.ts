// lamarck init [dir] [--from promptfooconfig.yaml]: files that run as they are, given a model.
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { ConfigError } from '../core/errors.ts'
import { here } from './config.ts'
import { table } from './table.ts'
import { type CommonFlags, safe, terminal } from './terminal.ts'
import { tickets } from './tickets.ts'
import { typed } from './words.ts'

export interface InitFlags extends CommonFlags {
  readonly from?: string
}

export async function initCommand(given: string | undefined, flags: InitFlags): Promise<number> {
  const folder = resolve(here, given ?? (flags.from === undefined ? '.' : dirname(flags.from)))
  const made = flags.from === undefined ? example() : await fromPromptfoo(resolve(here, flags.from), folder)
  const there = Object.keys(made.files).filter((name) => existsSync(join(folder, name)))
  if (there.length > 0)
    throw new ConfigError(
      `${there.join(' and ')} already in ${folder}: nothing was written; name another folder: lamarck init FOLDER`,
    )
  await mkdir(folder, { recursive: true })
  for (const [name, text] of Object.entries(made.files)) await writeFile(join(folder, name), text, { flag: 'wx' })
  const way = relative(here, folder)
  const model = made.model === undefined ? ' --model openai:gpt-5-mini' : ''
  const lines = [
    `written${way === '' ? '' : ` in ${way}`}: ${Object.keys(made.files).join(', ')}`,
    '',
    ...(way === '' ? [] : [`cd ${way}`]),
    table([
      [typed(`lamarck estimate${model}`), '# what a run takes; spends nothing'],
      [typed(`lamarck evolve${model}`), '# with a key in the environment; --model ollama:… needs none'],
      [typed('lamarck report --html'), '# what it found'],
    ]),
  ]
  terminal(flags).say(safe(lines.join('\n')))
  return 0
}

interface Made {
  readonly files: Readonly<Record<string, string>>
  readonly model?: string | undefined
}

function example(): Made {
  const rows = tickets.map(([input, expected]) => `${JSON.stringify({ input, expected })}\n`).join('')
  return { files: { 'lamarck.config.mts': exampleConfig, 'tickets.jsonl': rows } }
}

const exampleConfig = `import { defineConfig } from 'lamarck'
import { qaTask } from 'lamarck/tasks/qa'

// What may change, the problems, and how an answer is scored. A task may also be two functions of yours, or a SQLite file, a shell
// command, a promptfoo suite: see docs/guide/write-a-task.md of lamarck.
const task = qaTask({
  name: 'tickets',
  context: { instructions: 'Sort the support ticket: billing, bug or other. Answer with the label alone.' },
  data: './tickets.jsonl', // split three ways: the evolver reads one, one steers the search, one is opened once, at the end
  scorer: 'label',
})

export default defineConfig({
  task,
  // model: 'openai:gpt-5-mini', // answers; or say --model
  // evolver: 'anthropic:claude-sonnet-4-5', // writes the edits; the model itself if left out
  rounds: 10,
  budget: { calls: 3000 }, // never exceeded; also usd, tokens, minutes
})
`

async function fromPromptfoo(config: string, folder: string): Promise<Made> {
  const { readSuite } = await import('../tasks/promptfoo.ts')
  const { prompts, providers } = await readSuite(config)
  const path = relative(folder, config).split(sep).join('/')
  const model = providers.flatMap((id) => modelOf(id) ?? [])[0]
  const which = prompts.length === 1 ? '' : `\n    prompt: 1, // of ${prompts.length}: one evolves; its label or its number`
  const text = `import { defineConfig } from 'lamarck'
import { promptfooTask } from 'lamarck/tasks/promptfoo'

export default defineConfig({
  task: promptfooTask({
    config: ${JSON.stringify(path.startsWith('.') ? path : `./${path}`)},${which}
  }),
  ${model === undefined ? "// model: 'openai:gpt-5-mini', // answers; or say --model" : `model: ${JSON.stringify(model)},`}
  rounds: 10,
  budget: { calls: 3000 }, // never exceeded; also usd, tokens, minutes
})
`
  return { files: { 'lamarck.config.mts': text }, model }
}

/** The same model by its name here, where there is one: `openai:chat:gpt-5-mini` is `openai:gpt-5-mini`. */
function modelOf(provider: string): string | undefined {
  const [, maker, model] = /^(openai|anthropic|google)(?::(?:chat|messages|responses))?:([\w./-]+)$/.exec(provider) ?? []
  return maker !== undefined && model !== undefined ? `${maker}:${model}` : undefined
}
