// Multiple choice by subject: MMLU-Redux (arXiv:2406.04127) and sets of the same layout, such as MMLU-Pro-Redux: one JSON object
// a line, `{ id, subject, question, choices[], answer }` with a 0-based `answer`. Items that an audit found unsound are left out;
// where it found only the key to be wrong and names one choice as right, that choice is the key. Exact match of the letter.
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { Context, Rules } from '../core/context.ts'
import { BadAnswer, ConfigError } from '../core/errors.ts'
import type { Completion, Model, Params } from '../core/model.ts'
import type { Example, Grade, Task } from '../core/task.ts'
import { chatTask, tagged } from './chat.ts'
import { loadSplits, type Row, readRows, type SplitOptions } from './read.ts'

export interface MmluOptions extends SplitOptions {
  /** A file, or a folder with one `<subject>.jsonl` a subject. */
  readonly data: string
  /** One or several; left out: all that the file has. */
  readonly subject?: string | readonly string[]
  readonly context?: Context
  readonly rules?: Rules
  readonly params?: Omit<Params, 'n' | 'seed'>
}

export interface Item extends Row {
  readonly id: string
  readonly subject: string
  readonly question: string
  readonly choices: readonly string[]
  /** Index of the right choice. */
  readonly answer: number
}

export const mmluSeed: Context = {
  instructions: 'Answer the multiple choice question. Think it through step by step before you choose.',
}

/** A task of the sound items of one or more subjects. */
export async function mmluTask(options: MmluOptions): Promise<Task<Example, Completion, Model>> {
  const { data, subject, context = mmluSeed, rules, params } = options
  const items = await loadItems(data, typeof subject === 'string' ? [subject] : subject)
  const subjects = [...new Set(items.map((item) => item.subject))]
  return chatTask({
    name: subjects.length === 1 ? `mmlu:${subjects[0]}` : 'mmlu',
    context,
    ...(rules && { rules }),
    splits: await loadSplits(items, options),
    prompt: (example) => mmluPrompt(asItem(example)),
    grade: (text, example) => gradeLetter(text, asItem(example)),
    gold: (example) => letter(asItem(example).answer),
    ...(params && { params }),
  })
}

async function loadItems(data: string, subjects: readonly string[] | undefined): Promise<readonly Item[]> {
  const folder = await isFolder(data)
  if (folder && !subjects) throw new ConfigError(`${data}: is a folder; name a subject, one of its files without .jsonl`)
  const inFolder = folder
    ? (await readdir(data)).filter((file) => file.endsWith('.jsonl')).map((file) => file.slice(0, -'.jsonl'.length))
    : []
  const files = folder ? inFolder.filter((name) => subjects?.includes(name)).map((name) => join(data, `${name}.jsonl`)) : [data]
  const items = (await Promise.all(files.map(async (file) => soundItems(await readRows(file), file)))).flat()
  const have = folder ? inFolder : [...new Set(items.map((item) => item.subject))]
  const missing = subjects?.find((subject) => !items.some((item) => item.subject === subject))
  if (missing !== undefined)
    throw new ConfigError(`${data}: no sound item of the subject "${missing}" (have: ${have.sort().join(', ')})`)
  if (items.length === 0) throw new ConfigError(`${data}: no sound item; check the file`)
  return subjects ? items.filter((item) => subjects.includes(item.subject)) : items
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch {
    return false // what is not there is named by its reader
  }
}

const rowShape = z.object({
  id: z.union([z.string(), z.number()]).transform(String),
  subject: z.string().default('all'),
  question: z.string().min(1),
  choices: z.array(z.string()).min(2).max(26),
  answer: z.int().min(0),
  error_type: z.string().nullish(),
  correct_answer: z.union([z.string(), z.number()]).nullish(),
})

/** The sound items of a file's rows, with corrected keys. @throws {ConfigError} on a row of another shape. */
export function soundItems(rows: readonly Row[], file = 'data'): readonly Item[] {
  return rows.flatMap((row, i) => {
    const read = rowShape.safeParse(row)
    if (!read.success) {
      const issue = read.error.issues[0]
      throw new ConfigError(
        `${file}: item ${i + 1}: ${issue?.path.join('.')}: ${issue?.message.toLowerCase()}; needs id, question, choices and answer`,
      )
    }
    const { id, subject, question, choices, answer, error_type: error, correct_answer: corrected } = read.data
    if (answer >= choices.length)
      throw new ConfigError(`${file}: item ${i + 1}: answer ${answer} is no index of its ${choices.length} choices`)
    if (error == null || error === 'ok') return [{ id, subject, question, choices, answer }]
    const key = error === 'wrong_groundtruth' && corrected != null ? correctedKey(String(corrected), choices) : undefined
    return key === undefined || key === answer ? [] : [{ id, subject, question, choices, answer: key }]
  })
}

/** The one choice meant by an annotator's free text (an index, a letter, or a choice's text); undefined if none or several are. */
function correctedKey(text: string, choices: readonly string[]): number | undefined {
  const written = text.trim()
  const meant = choices.flatMap((choice, i) =>
    written === String(i) || written.toUpperCase() === letter(i) || written === choice.trim() ? [i] : [],
  )
  return meant.length === 1 ? meant[0] : undefined
}

function letter(index: number): string {
  return String.fromCharCode(65 + index)
}

/** The question, its lettered choices, and the form of the answer. */
export function mmluPrompt({ question, choices }: Item): string {
  const lines = choices.map((choice, i) => `${letter(i)}. ${choice}`)
  return `${question}\n\n${lines.join('\n')}\n\nEnd with the letter of the right choice between <answer> and </answer>.`
}

/** @throws {BadAnswer} where no letter of a choice stands alone in the last `<answer>…</answer>`. */
export function gradeLetter(text: string, { choices, answer }: Item): Grade {
  const written = tagged(text)
  if (written === undefined) throw new BadAnswer(`expected ${letter(answer)} in <answer></answer>, got no such tags`, text)
  const got = /^[\s("'*]*([A-Za-z])[\s).:"'*]*$/.exec(written)?.[1]?.toUpperCase()
  if (got === undefined || got.charCodeAt(0) - 65 >= choices.length) {
    throw new BadAnswer(
      `expected ${letter(answer)}, got ${JSON.stringify(written.slice(0, 60))}, which is no letter of a choice`,
      text,
    )
  }
  return got === letter(answer) ? { score: 1 } : { score: 0, feedback: `expected ${letter(answer)}, got ${got}` }
}

/** Examples of this task are items: they were made from them. */
function asItem(example: Example): Item {
  return example as Item
}
