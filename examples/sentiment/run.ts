// Whether a review is positive or negative, from code: a small local model in plain format, decoded from two words, offline and without a key.
//   node examples/sentiment/run.ts $(npm run -s fetch-smollm2)
// In a project of your own the imports are from 'lamarck', 'lamarck/models/llama' and 'lamarck/tasks/qa'.
import { dirname } from 'node:path'
import { evolve } from '../../src/index.ts'
import { labelled, llama } from '../../src/models/llama.ts'
import { rememberFailures } from '../../src/recipes/remember-failures.ts'
import { qaTask } from '../../src/tasks/qa.ts'

const [file = 'model.gguf'] = process.argv.slice(2)
await using model = await llama(file, { format: 'plain', contextSize: 1024, packages: dirname(file) })

const run = evolve({
  task: qaTask({
    name: 'sentiment',
    data: new URL('sentiment.jsonl', import.meta.url).pathname,
    context: { instructions: 'Decide if the review is positive or negative.', examples: [] },
    scorer: 'label',
    params: { maxTokens: 8 },
  }),
  model: labelled(model, ['positive', 'negative']),
  evolver: rememberFailures().propose,
  rounds: 10,
  draws: 1,
  testDraws: 1,
  store: 'memory',
})
for await (const event of run.events) console.log(event.line)
await run.result
