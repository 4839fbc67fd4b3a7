// A task from the two functions a user writes.
import type { Context, Rules } from './core/context.ts'
import { truncateRepeats } from './core/repeats.ts'
import type { Example, Grade, Shown, Task } from './core/task.ts'
import type { Problem, ScoreFunction, TaskFunction, TaskModel } from './options.ts'
import type { Splits } from './tasks/read.ts'

export interface FunctionTaskParts {
  readonly name: string
  readonly context: Context
  readonly rules: Rules
  readonly splits: Splits
  readonly task: TaskFunction<Readonly<Record<string, string>>, unknown>
  readonly score: ScoreFunction<unknown>
}

/** The task behind `evolve({ task, score })`. Its model is the AI SDK's. */
export function functionTask({
  name,
  context,
  rules,
  splits,
  task,
  score,
}: FunctionTaskParts): Task<Example, unknown, TaskModel> {
  return {
    name,
    seed: context,
    rules,
    examples: (split) => splits[split] ?? [],
    // The context has the parts the user wrote, so it has the type made from them; likewise the rows.
    run: async (call) => task({ ...call, context: call.context as never, example: call.example as Problem }),
    async score(output, example, judge): Promise<Grade> {
      const grade = await score(output, example as Problem, judge)
      // Whatever else is returned is refused where all scores are checked, by its value.
      return typeof grade === 'object' && grade !== null ? grade : { score: grade as number }
    },
    show: (example, output) => shown(example, output),
  }
}

const questionFields = ['input', 'question', 'prompt', 'text']
const goldFields = ['expected', 'answer', 'gold', 'label', 'output']

function shown(example: Example, output: unknown): Shown {
  const { id: _, ...fields } = example
  const question = questionFields.find((name) => name in fields)
  const gold = goldFields.find((name) => name in fields)
  const thinking = field(output, 'reasoningText')
  return {
    question: textOf(question === undefined ? fields : fields[question]),
    // a model that fell into a loop would fill the evolver's prompt with it
    answer: output === undefined ? '' : truncateRepeats(textOf(field(output, 'text') ?? output)),
    ...(typeof thinking === 'string' && thinking !== '' && { thinking: truncateRepeats(thinking) }),
    ...(gold !== undefined && { gold: textOf(fields[gold]) }),
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && name in value ? (value as Record<string, unknown>)[name] : undefined
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return String(value) // circular: there is no JSON of it
  }
}
