import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { completion, echo, testTask } from '../../../test/contracts/task.ts'
import { BadAnswer, ConfigError } from '../../core/errors.ts'
import type { Message, Model } from '../../core/model.ts'
import { type Row, readRows } from '../read.ts'
import { birdQuestions, birdTask } from './bird.ts'
import { sqlSandbox } from './sandbox.ts'
import { schemaOf } from './schema.ts'
import { gradeSql, type SqlTask, sqlTask } from './sql.ts'

const signal = new AbortController().signal
const questions = Array.from({ length: 12 }, (_, i) => ({
  question_id: i,
  db_id: 'shop',
  question: `What costs more than ${i}?`,
  evidence: 'SECRET: costs means price',
  SQL: `SELECT name FROM item WHERE price > ${i}`,
  difficulty: 'simple',
}))

let folder = ''
let database = ''
const made: SqlTask[] = []

/** A task that the tests dispose of at the end. */
async function make(options: Partial<Parameters<typeof sqlTask>[0]> = {}): Promise<SqlTask> {
  const task = await sqlTask({ database, questions, sandbox: { workers: 1, timeLimit: 3000 }, ...options })
  made.push(task)
  return task
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamarck-sql-'))
  const home = join(folder, 'dev_databases', 'shop')
  await mkdir(join(home, 'database_description'), { recursive: true })
  database = join(home, 'shop.sqlite')
  using db = new DatabaseSync(database)
  db.exec(`
    CREATE TABLE item (name TEXT, price REAL, "odd ""name" BLOB);
    INSERT INTO item VALUES ('pen', 1.5, x'00'), ('${'ink'.repeat(100)}', 20, NULL), ('cup', 9007199254740993, NULL);
    CREATE VIEW dear AS SELECT name FROM item WHERE price > 10;
  `)
  await writeFile(join(folder, 'dev.json'), JSON.stringify(questions))
  const csv =
    'original_column_name,column_name,column_description,data_format,value_description\nprice,,what it costs,real,"in €, \n with tax"\nname,,,text,\n'
  await writeFile(join(home, 'database_description', 'item.csv'), Buffer.from(csv.replace('€', '\u0080'), 'latin1'))
})
afterAll(async () => {
  await Promise.all(made.map((task) => task[Symbol.asyncDispose]()))
  await rm(folder, { recursive: true })
})

testTask('sql', make, completion)

async function promptOf(task: SqlTask): Promise<readonly Message[]> {
  let seen: readonly Message[] = []
  const model: Model = {
    name: 'listening',
    sample: async (prompt, params, stop) => {
      seen = prompt
      return echo.sample(prompt, params, stop)
    },
  }
  await task.run({ context: task.seed, example: task.examples('train')[0]!, model, draw: 0, seed: 1, signal })
  return seen
}

test('the prompt has the context, the schema and the question, and never the evidence', async () => {
  const task = await make()
  const prompt = await promptOf(task)
  const example = task.examples('train')[0]!
  expect(prompt[0]).toEqual({ role: 'system', content: 'Write one SQLite query that answers the question.' })
  expect(prompt[1]?.content).toContain('CREATE TABLE item (name TEXT, price REAL')
  expect(prompt[1]?.content).toContain(`Question: ${example.question}`)
  expect(JSON.stringify([prompt, task.examples('train'), task.show(example, completion('x'))])).not.toContain('SECRET')
})

test('a schema is the tables as they were made with two values a column, long ones cut', () => {
  expect(schemaOf(database).split('\n')).toEqual([
    'CREATE TABLE item (name TEXT, price REAL, "odd ""name" BLOB);',
    `--   name example: ["pen", "${'ink'.repeat(20)}…"]`,
    '--   price example: [1.5, 20]',
    '--   odd "name example: [1 bytes, null]',
    '',
    'CREATE VIEW dear AS SELECT name FROM item WHERE price > 10;',
    '',
  ])
})

test('a schema.sql beside the database is the schema', async () => {
  const file = join(folder, 'dev_databases', 'shop', 'schema.sql')
  await writeFile(file, '-- my own words')
  expect((await promptOf(await make()))[1]?.content).toContain('my own words')
  await rm(file)
})

describe('a grade', () => {
  const question = { id: 'q', question: 'Which names?', gold: 'SELECT name FROM item WHERE price > 2' }
  const sandbox = sqlSandbox({ workers: 1, timeLimit: 1000, maxRows: 1000 })
  const run = (sql: string): ReturnType<typeof sandbox.query> => sandbox.query(database, sql)
  afterAll(() => sandbox[Symbol.asyncDispose]())
  const counted = 'WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t)'

  test.each<[string, string, number, string]>([
    ['the same rows in other words', 'SELECT name FROM item WHERE NOT price <= 2 ORDER BY price', 1, 'the rows are right'],
    ['the same rows twice', 'SELECT name FROM item, (VALUES (1), (2)) WHERE price > 2', 1, 'the rows are right'],
    ['fewer rows', "SELECT name FROM item WHERE name = 'cup'", 0, "Got 1 rows:\n'cup'\nExpected 2 rows:\n'inkink"],
    ['another column', 'SELECT price FROM item WHERE price > 2', 0, 'Got 2 rows:\n20\n'],
    ['no rows', 'SELECT name FROM item WHERE 0', 0, 'Got 0 rows'],
    ['an error', 'SELECT nme FROM item', 0, 'SQL error: no such column: nme'],
    ['more than one statement', 'SELECT 1; SELECT 2', 0, 'refused: only one SELECT'],
    ['no end', `${counted} SELECT count(*) FROM t`, 0, 'stopped: no result within the time limit of 1 s'],
    ['too many rows', `${counted} SELECT x FROM t LIMIT 2000`, 0, 'stopped, too much output: more than 1000 rows'],
  ])('for %s says so, shortly', async (_, sql, score, feedback) => {
    const grade = await gradeSql(`<answer>${sql}</answer>`, question, run)
    expect(grade.score).toBe(score)
    expect(grade.feedback).toContain(feedback)
    expect(grade.feedback?.length).toBeLessThanOrEqual(1000)
  })

  test('without a query says what was missing', async () => {
    await expect(gradeSql('I do not know', question, run)).rejects.toThrow(BadAnswer)
    await expect(gradeSql('I do not know', question, run)).rejects.toThrow('no query found')
  })

  test('with a gold query that does not run is for the user to correct', async () => {
    await expect(gradeSql('<answer>SELECT 1</answer>', { ...question, gold: 'SELECT nme FROM item' }, run)).rejects.toThrow(
      ConfigError,
    )
  })
})

test('right answers score 1 through the task, wrong ones 0', async () => {
  const task = await make()
  const example = task.examples('holdout')[0]!
  const score = async (sql: string): Promise<number> =>
    (await task.score(completion(`<answer>${sql}</answer>`), example, { model: echo, signal })).score
  expect(await score(String(example.gold))).toBe(1)
  expect(await score('SELECT 1')).toBe(0)
  expect(task.show(example, undefined)).toEqual({ question: example.question, answer: '', gold: example.gold })
})

test('questions without ids are numbered within their split', async () => {
  const bare = questions.map(({ question_id: _, ...question }) => question)
  const task = await make({ questions: { train: bare.slice(0, 2), holdout: bare.slice(2, 4), test: bare.slice(4, 6) } })
  expect(task.examples('train').map((e) => e.id)).toEqual(['train-r1', 'train-r2'])
  expect(task.examples('test').map((e) => e.id)).toEqual(['test-r1', 'test-r2'])
})

test.each<[string, Partial<Parameters<typeof sqlTask>[0]>, string]>([
  ['a database that is not there', { database: '/nowhere/shop.sqlite' }, 'cannot read database "/nowhere/shop.sqlite"'],
  ['no question at all', { questions: [] }, 'there are no questions'],
  ['a db_id that no question has', { db: 'zoo' }, 'no question with db_id "zoo" (have: shop)'],
  [
    'a question without gold',
    { questions: [{ question: 'What?' }] },
    'question 1: needs texts "question" and "SQL" (has: question)',
  ],
  [
    'a gold query that does not run',
    { questions: [...questions, { ...questions[0], question_id: 99, SQL: 'SELECT x' }] },
    '1 gold queries do not run (question "99": no such column: x)',
  ],
])('%s is refused in one line', async (_, options, message) => {
  await expect(make(options)).rejects.toThrow(ConfigError)
  await expect(make(options)).rejects.toThrow(message)
})

test('questions whose gold query does not run can be left out, and are named', async () => {
  const task = await make({
    questions: [...questions, { ...questions[0], question_id: 99, SQL: 'SELECT x' }],
    badGold: 'leave out',
  })
  expect(task.leftOut).toEqual(['question "99": no such column: x'])
  expect((['train', 'holdout', 'test'] as const).flatMap((split) => task.examples(split).map((e) => e.id))).not.toContain('99')
})

test('a folder of databases serves questions of several, given in splits', async () => {
  const rows = (split: string): readonly Row[] => [{ ...questions[0]!, question_id: split, question: `What, ${split}?` }]
  const task = await make({
    database: join(folder, 'dev_databases'),
    questions: { train: rows('a'), holdout: rows('b'), test: rows('c'), ood: rows('d') },
  })
  expect(task.examples('ood').map((example) => example.id)).toEqual(['d'])
})

describe('BIRD', () => {
  test('its files make a task of one database, with descriptions where they are wanted', async () => {
    const task = await birdTask({ folder, db: 'shop', descriptions: true, sandbox: { workers: 1 } })
    made.push(task)
    expect(task.name).toBe('bird:shop')
    const prompt = await promptOf(task)
    expect(prompt[1]?.content).toContain('CREATE TABLE item')
    expect(prompt[1]?.content).toContain('-- item.price: what it costs; in €, with tax')
    expect(prompt[1]?.content).not.toContain('item.name:')
    expect(JSON.stringify(prompt)).not.toContain('SECRET')
  })

  test('the last sql block is the answer where there are no tags', async () => {
    const task = await birdTask({ folder, db: 'shop', sandbox: { workers: 1 } })
    made.push(task)
    const example = task.examples('test')[0]!
    const text = `<think>\n\`\`\`sql\nSELECT 1\n\`\`\`\n</think>\n\`\`\`sql\n${example.gold}\n\`\`\``
    expect((await task.score(completion(text), example, { model: echo, signal })).score).toBe(1)
  })

  test('missing files are named', async () => {
    await expect(birdTask({ folder, db: 'zoo' })).rejects.toThrow('zoo.sqlite: no such file')
    await expect(birdQuestions(folder, 'train')).rejects.toThrow('train.json: no such file')
  })
})

const shared = new URL('../../../../shared/data/', import.meta.url).pathname
const isHere = existsSync(shared)
if (!isHere && process.env.CI) throw new Error('../shared/data is absent: the real data must be there in CI')

describe.skipIf(!isHere)('on the real sets (skipped without ../shared/data)', () => {
  test.each([
    ['spider-dev', 748],
    ['kaggledbqa', 87],
    ['geography', 844],
  ])('%s: each of %i gold queries is right against itself, and rarely against another', async (file, count) => {
    const rows = await readRows(join(shared, 'questions', `${file}.jsonl`))
    expect(rows.length).toBe(count)
    await using first = sqlSandbox({ workers: 2, cache: 0 })
    const digestOf = async (row: Row): Promise<string> => {
      const path = join(shared, 'databases', String(row.db_id), `${row.db_id}.sqlite`)
      const result = await first.query(path, String(row.SQL))
      return result.kind === 'rows' ? `${row.db_id} ${result.digest}` : `${row.question_id}: ${result.message}`
    }
    const [once, again] = [await Promise.all(rows.map(digestOf)), await Promise.all(rows.map(digestOf))]
    expect(again).toEqual(once)
    expect(once.filter((digest) => !/^\w+ [\d.]+$/.test(digest))).toEqual([])
    // Different queries: pairs of neighbours with other SQL on the same database.
    const pairs = rows.flatMap((row, i) => (rows[i + 1]?.db_id === row.db_id && rows[i + 1]?.SQL !== row.SQL ? [i] : []))
    expect(pairs.filter((i) => once[i] === once[i + 1]).length / pairs.length).toBeLessThan(0.35)
  })

  test('geography is split by query group, its golds run and its schema has examples', async () => {
    const task = await make({
      database: join(shared, 'databases'),
      questions: join(shared, 'questions/geography.jsonl'),
      groupBy: 'query_group',
    })
    const groups = (['train', 'holdout', 'test'] as const).flatMap((split) => [
      ...new Set(task.examples(split).map((example) => example.query_group)),
    ])
    expect(groups.length).toBe(new Set(groups).size)
    expect((await promptOf(task))[1]?.content).toContain('example: [')
  })

  test("BIRD's own questions are read, all 1,534 of 11 databases and 4,161 of 27", async () => {
    const dev = await birdQuestions(join(shared, 'bird'))
    const train = await birdQuestions(join(shared, 'bird'), 'train')
    expect([dev.length, new Set(dev.map((row) => row.db_id)).size]).toEqual([1534, 11])
    expect([train.length, new Set(train.map((row) => row.db_id)).size]).toEqual([4161, 27])
    for (const row of [...dev, ...train]) expect([typeof row.question, typeof row.SQL]).toEqual(['string', 'string'])
  })
})
