// TextGrad: each answer is criticised, the criticism becomes feedback on the context, and one rewrite takes it in.
//   OPENAI_API_KEY=… npx node examples/methods/textgrad.ts openai:gpt-5-mini
// In a project of your own the imports are from 'lamarck', 'lamarck/methods/textgrad' and 'lamarck/tasks/qa'.
import { evolve } from '../../src/index.ts'
import { textgrad } from '../../src/methods/textgrad.ts'
import { qaTask } from '../../src/tasks/qa.ts'

const run = evolve({
  task: qaTask({
    name: 'topic',
    data: new URL('../topic/topic.jsonl', import.meta.url).pathname,
    context: { instructions: 'Say what the text is about: sports, food, weather or money.' },
    scorer: 'label',
  }),
  model: process.argv[2] ?? 'openai:gpt-5-mini',
  method: textgrad({ momentum: 2, constraints: ['The answer stays a single word.', 'No example from the data.'] }),
  rounds: 12,
  budget: { calls: 1500 },
})
for await (const event of run.events) console.log(event.line)
await run.result
