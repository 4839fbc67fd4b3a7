// Questions with expected answers from a data file, scored by a rule or by a judge. If the model's answer has an
// `<answer>…</answer>`, what is inside the last one is scored; else the whole text.
import type { Context, Rules } from '../core/context.ts'
import { ConfigError } from '../core/errors.ts'
import type { Completion, Model, Params } from '../core/model.ts'
import { type Example, type Grade, splits as splitNames, type Task } from '../core/task.ts'
import { chatTask, tagged } from './chat.ts'
import { type Judge, judged } from './judge.ts'
import { type Data, inputFields, loadSplits, type Row, type SplitOptions } from './read.ts'
import { contains, exact, json, label, number, regex, type Scorer } from './scorers.ts'
import { fill, placeholders, textOf } from './template.ts'

const expectedFields = ['expected', 'answer', 'gold', 'label']

export const scorerNames = ['exact', 'contains', 'regex', 'number', 'json', 'label', 'judge'] as const
export type ScorerName = (typeof scorerNames)[number]

export interface QaOptions extends SplitOptions {
  readonly name?: string
  readonly data: Data
  /** The context to start from, or its instructions alone. */
  readonly context: Context | string
  readonly rules?: Rules
  /** The question: a field, or a template with `{{field}}`. Default: the first of `input`, `question`, `prompt`, `text`. */
  readonly input?: string
  /** The field of the expected answer. Default: the first of `expected`, `answer`, `gold`, `label`. */
  readonly expected?: string
  readonly scorer?: ScorerName
  /** For `exact` and `contains`. */
  readonly ignoreCase?: boolean
  /** For `number`, absolute. */
  readonly tolerance?: number
  /** For `regex`; default "u". */
  readonly flags?: string
  /** For `label`; default: all expected values there are. */
  readonly labels?: readonly string[]
  /** For `judge`: what makes an answer good; may have `{{field}}`. */
  readonly rubric?: string
  readonly params?: Omit<Params, 'n' | 'seed'>
}

/** A task of questions and expected answers. @throws {ConfigError} on a row that can't be asked or scored. */
export async function qaTask(options: QaOptions): Promise<Task<Example, Completion, Model>> {
  const { context, input, name = 'qa', scorer = 'exact', rules, params } = options
  const groupBy = options.groupBy ?? (input === undefined ? undefined : (row: Row) => fill(templateOf(input), row))
  const splits = await loadSplits(options.data, { ...options, ...(groupBy && { groupBy }) })
  const all = splitNames.flatMap((split) => splits[split] ?? [])
  const template = templateOf(input ?? fieldOf(all, inputFields, 'input'))
  const field = options.expected ?? (scorer === 'judge' ? undefined : fieldOf(all, expectedFields, 'expected'))
  const used = [...placeholders(template), ...placeholders(options.rubric ?? ''), ...(field ? [field] : [])]
  for (const example of all) checkFields(example, used)
  const question = (example: Example): string => fill(template, example)
  return chatTask({
    name,
    context: typeof context === 'string' ? { instructions: context } : context,
    ...(rules && { rules }),
    splits,
    prompt: question,
    grade:
      field === undefined || scorer === 'judge' ? judgeBy(options, question, field) : ruleBy(scorer, { ...options, all, field }),
    gold: (example) => (field === undefined ? undefined : textOf(example[field])),
    ...(params && { params }),
  })
}

function templateOf(input: string): string {
  return input.includes('{{') ? input : `{{${input}}}`
}

function fieldOf(all: readonly Example[], known: readonly string[], option: string): string {
  const field = known.find((name) => all.some((example) => present(example[name])))
  if (field) return field
  throw new ConfigError(
    `no field is called ${known.join(' or ')}; name it with "${option}" (has: ${Object.keys(all[0] ?? {}).join(', ')})`,
  )
}

function checkFields(example: Example, fields: readonly string[]): void {
  const missing = fields.find((field) => !present(example[field]))
  if (missing === undefined) return
  throw new ConfigError(
    `example "${example.id}" has no "${missing}" (has: ${Object.keys(example).join(', ')}); fill it in or name another field`,
  )
}

function present(value: unknown): boolean {
  return value !== undefined && value !== null && value !== ''
}

type Grader = (text: string, example: Example, judge: Judge) => Grade | Promise<Grade>

/** Every expected value is prepared here, before the first call, so that a bad one is refused with its row. */
function ruleBy(
  scorer: Exclude<ScorerName, 'judge'>,
  rule: QaOptions & { readonly all: readonly Example[]; readonly field: string },
): Grader {
  const prepare = scorerOf(scorer, rule)
  const ready = new Map(rule.all.map((example) => [example.id, prepared(prepare, example, rule.field)]))
  return (text, example) => {
    const grade = ready.get(example.id) ?? prepare(example[rule.field])
    return grade(tagged(text) ?? text)
  }
}

function prepared(prepare: Scorer, example: Example, field: string): ReturnType<Scorer> {
  try {
    return prepare(example[field])
  } catch (cause) {
    if (cause instanceof ConfigError) throw new ConfigError(`example "${example.id}": ${cause.message}`, { cause })
    throw cause
  }
}

function scorerOf(
  name: Exclude<ScorerName, 'judge'>,
  rule: QaOptions & { readonly all: readonly Example[]; readonly field: string },
): Scorer {
  const { ignoreCase = false, tolerance = 0, flags = 'u', all, field } = rule
  if (name === 'exact') return exact({ ignoreCase })
  if (name === 'contains') return contains({ ignoreCase })
  if (name === 'regex') return regex({ flags })
  if (name === 'number') return number({ tolerance })
  if (name === 'json') return json()
  if (name === 'label') return label({ labels: rule.labels ?? [...new Set(all.map((example) => textOf(example[field])))] })
  throw new ConfigError(`unknown scorer "${name}" (have: ${scorerNames.join(', ')})`)
}

function judgeBy({ rubric, scorer }: QaOptions, question: (example: Example) => string, field: string | undefined): Grader {
  if (!rubric) throw new ConfigError(`the scorer "${scorer}" needs a "rubric": what makes an answer good, in a sentence or two`)
  return (text, example, judge) => {
    const expected = field === undefined ? undefined : textOf(example[field])
    return judged({ rubric: fill(rubric, example), question: question(example), answer: tagged(text) ?? text, expected }, judge)
  }
}
