// Text to SQL: questions on SQLite databases, right when the query gives the rows that the gold query gives. The prompt holds the
// schema and the question, never a row's `evidence`.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Context, Rules } from '../../core/context.ts'
import { BadAnswer, ConfigError } from '../../core/errors.ts'
import type { Completion, Model, Params } from '../../core/model.ts'
import type { Example, Grade, Task } from '../../core/task.ts'
import { chat } from '../../core/task.ts'
import { chatTask } from '../chat.ts'
import { type Data, isRows, loadSplits, type Row, type Rows, readRows, type SplitOptions } from '../read.ts'
import { sqlIn } from './extract.ts'
import type { Result } from './result.ts'
import { cut } from './result.ts'
import type { SandboxOptions } from './sandbox.ts'
import { sqlSandbox } from './sandbox.ts'
import { schemaOf } from './schema.ts'

export interface SqlOptions extends SplitOptions {
  readonly name?: string
  /** A SQLite file; or a folder with `<db_id>/<db_id>.sqlite`, for questions that name their `db_id`. */
  readonly database: string
  /** Rows with `question` and the gold query as `SQL`, `sql` or `query`; `question_id` or `id`, and `db_id` with a folder. */
  readonly questions: Data
  /** Only the questions of this `db_id`. */
  readonly db?: string
  /** Text of the schema; left out: `schema.sql` beside the database, else what the database says, with example values. */
  readonly schema?: string
  readonly context?: Context
  readonly rules?: Rules
  readonly params?: Omit<Params, 'n' | 'seed'>
  /** Limits of a query and what counts as equal. */
  readonly sandbox?: SandboxOptions
  /** What to do with questions whose gold query does not run: `refuse` (default) or `leave out`. */
  readonly badGold?: 'refuse' | 'leave out'
}

/** Holds processes: dispose of it. */
export interface SqlTask extends Task<Example, Completion, Model>, AsyncDisposable {
  /** One line for each question left out, with the reason. */
  readonly leftOut: readonly string[]
}

export const sqlSeed: Context = { instructions: 'Write one SQLite query that answers the question.' }

/** A row as this task keeps it: without `evidence`, and the gold query under one name. */
export interface Question extends Row {
  readonly id: string
  readonly question: string
  readonly gold: string
}

/** A task of questions on one or several databases. @throws {ConfigError} where questions, databases and golds don't fit. */
export async function sqlTask(options: SqlOptions): Promise<SqlTask> {
  const { name = 'sql', context = sqlSeed, rules, params, sandbox: limits } = options
  const isFolder = statSync(options.database, { throwIfNoEntry: false })?.isDirectory() ?? false
  const databaseOf = ({ db_id }: Row): string =>
    isFolder ? join(options.database, `${db_id}`, `${db_id}.sqlite`) : options.database
  await using resources = new AsyncDisposableStack()
  const sandbox = resources.use(sqlSandbox(limits))
  const schemas = new Map<string, string>()
  const schemaFor = (database: string): string => {
    const schema = schemas.get(database) ?? options.schema ?? schemaText(database)
    schemas.set(database, schema)
    return schema
  }
  const { sound, leftOut } = await withGold(
    await eachRows(options.questions, (rows, prefix) => questionsOf(rows, { db: options.db, prefix })),
    {
      options,
      gold: (question) => sandbox.query(databaseOf(question), question.gold),
    },
  )
  const task = chatTask({
    name,
    context,
    ...(rules && { rules }),
    splits: await loadSplits(sound, options),
    prompt: (example) => asQuestion(example).question,
    messages: (c, example) => chat(c, sqlPrompt(schemaFor(databaseOf(example)), asQuestion(example).question)),
    grade: (text, example, { signal }) =>
      gradeSql(text, asQuestion(example), (sql) => sandbox.query(databaseOf(example), sql, signal)),
    gold: (example) => asQuestion(example).gold,
    ...(params && { params }),
  })
  const kept = resources.move()
  return { ...task, leftOut, [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

/** What the model is asked, the context apart. */
export function sqlPrompt(schema: string, question: string): string {
  return `Database schema (SQLite):\n${schema.trim()}\n\nQuestion: ${question}\n\nEnd with the query between <answer> and </answer>.`
}

/**
 * Runs the query of an answer and the gold query, and compares.
 * @throws {BadAnswer} without a query in the answer. @throws {ConfigError} if the gold query does not run.
 */
export async function gradeSql(text: string, question: Question, run: (sql: string) => Promise<Result>): Promise<Grade> {
  const sql = sqlIn(text)
  if (sql === undefined) throw new BadAnswer('no query found: it must stand between <answer> and </answer>', text)
  const [got, gold] = await Promise.all([run(sql), run(question.gold)])
  if (gold.kind === 'error') throw new ConfigError(`the gold query of question "${question.id}" does not run: ${gold.message}`)
  if (got.kind === 'error') return { score: 0, feedback: `${faults[got.why]}: ${cut(got.message, 300)}` }
  if (got.digest === gold.digest) return { score: 1, feedback: 'the rows are right' }
  return {
    score: 0,
    feedback: `the query ran, but its rows are not the expected ones.\nGot ${shown(got)}\nExpected ${shown(gold)}`,
  }
}

const faults = {
  sql: 'SQL error',
  refused: 'refused',
  time: 'stopped',
  size: 'stopped, too much output',
  crash: 'stopped',
} as const

/** Number of rows and the first ones, at most 450 characters. */
function shown({ rows, preview }: Result & { kind: 'rows' }): string {
  const first = rows > preview.length ? `, the first ${preview.length}` : ''
  return cut(`${rows} rows${first}:\n${preview.join('\n')}`, 450)
}

interface GoldOptions {
  readonly options: SqlOptions
  readonly gold: (question: Question) => Promise<Result>
}

/** The questions whose gold query runs; all of them are run, which also makes the sandbox remember their rows. */
async function withGold(questions: Data, { options, gold }: GoldOptions): Promise<{ sound: Data; leftOut: readonly string[] }> {
  const leftOut: string[] = []
  const sound = await eachRows(questions, async (rows) => {
    const results = await Promise.all(rows.map((row) => gold(asQuestion(row))))
    return rows.filter((row, i) => {
      const result = results[i]!
      if (result.kind === 'error') leftOut.push(`question "${row.id}": ${result.message}`)
      return result.kind === 'rows'
    })
  })
  if (leftOut.length && options.badGold !== 'leave out') {
    throw new ConfigError(`${leftOut.length} gold queries do not run (${leftOut[0]}); correct them or set badGold to "leave out"`)
  }
  return { sound, leftOut }
}

/** Rows of one set or of each split, changed alike; `prefix` tells the numbers of one split from those of another. */
async function eachRows(
  data: Data,
  change: (rows: readonly Row[], prefix: string) => readonly Row[] | Promise<readonly Row[]>,
): Promise<Data> {
  const changed = async (rows: Rows, prefix: string): Promise<readonly Row[]> =>
    change(typeof rows === 'string' ? await readRows(rows) : rows, prefix)
  if (typeof data === 'string' || isRows(data)) return changed(data, 'r')
  const [train, holdout, test] = await Promise.all([
    changed(data.train, 'train-r'),
    changed(data.holdout, 'holdout-r'),
    changed(data.test, 'test-r'),
  ])
  return { train, holdout, test, ...(data.ood !== undefined && { ood: await changed(data.ood, 'ood-r') }) }
}

function questionsOf(
  rows: readonly Row[],
  { db, prefix }: { readonly db: string | undefined; readonly prefix: string },
): readonly Question[] {
  const chosen = rows.flatMap((row, i) => (db === undefined || row.db_id === db ? [{ row, at: i + 1 }] : []))
  if (rows.length === 0) throw new ConfigError('there are no questions; give rows with "question" and "SQL"')
  if (chosen.length === 0) throw new ConfigError(`no question with db_id "${db}" (have: ${idsOf(rows).join(', ') || 'none'})`)
  return chosen.map(({ row: { evidence: _, SQL, sql, query, question_id, ...rest }, at }) => {
    const gold = SQL ?? sql ?? query
    if (typeof rest.question !== 'string' || typeof gold !== 'string') {
      throw new ConfigError(
        `question ${at}: needs texts "question" and "SQL" (has: ${Object.keys(rows[at - 1] ?? {}).join(', ')})`,
      )
    }
    return { ...rest, id: String(question_id ?? rest.id ?? `${prefix}${at}`), question: rest.question, gold }
  })
}

function idsOf(rows: readonly Row[]): readonly string[] {
  return [...new Set(rows.map((row) => row.db_id).filter((id) => typeof id === 'string'))].slice(0, 20)
}

/** The examples of this task are questions: `questionsOf` made them all. */
function asQuestion(example: Row): Question {
  return example as Question
}

function schemaText(database: string): string {
  const beside = join(dirname(database), 'schema.sql')
  return existsSync(beside) ? readFileSync(beside, 'utf8') : schemaOf(database)
}
