// Finch as a task like any other: real SQL on a real database, run in the sandbox, whoever wrote it.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Completion, Model } from '../../core/model.ts'
import { chat, type Example, type Task } from '../../core/task.ts'
import { chatTask } from '../chat.ts'
import { sqlSandbox } from '../sql/sandbox.ts'
import { gradeSql, sqlPrompt } from '../sql/sql.ts'
import { type CompanyOptions, createCompany, type Problem } from './company.ts'
import { schemaSql, writeDatabase } from './database.ts'
import { finch, part } from './parameters.ts'

/** Holds processes and a temporary folder: dispose of it. */
export interface FinchTask extends Task<Example, Completion, Model>, AsyncDisposable {
  /** What the model is asked, the context apart. */
  ask(example: Example): string
}

/** Questions of one company. @throws {ConfigError} for a domain that the set does not have. */
export function finchTask(options: CompanyOptions): FinchTask {
  using company = createCompany(options)
  const folder = mkdtempSync(join(tmpdir(), 'lamarck-finch-'))
  const sandbox = sqlSandbox({ workers: 1, timeLimit: 5000 })
  const { name, domain, seed, notes } = company
  const database = join(folder, `${domain.name}.sqlite`)
  writeDatabase(database, domain, seed)
  const schema = schemaSql(domain)
  const example = ({ id, question, gold }: Problem): Example => ({ id, question, gold })
  const of = (e: Example): { id: string; question: string; gold: string } => e as Example & { question: string; gold: string } // made above
  const ask = (e: Example): string => sqlPrompt(schema, of(e).question)
  const task = chatTask({
    name,
    context: { [part]: notes },
    rules: { [part]: { maxTokens: finch.maxTokens } },
    splits: {
      train: company.problems('train').map(example),
      holdout: company.problems('holdout').map(example),
      test: company.problems('test').map(example),
    },
    prompt: (e) => of(e).question,
    messages: (context, e) => chat(context, ask(e)),
    grade: (text, e, { signal }) => gradeSql(text, of(e), (sql) => sandbox.query(database, sql, signal)),
    params: { maxTokens: 300, temperature: finch.temperature },
  })
  return {
    ...task,
    ask,
    async [Symbol.asyncDispose]() {
      await sandbox[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
