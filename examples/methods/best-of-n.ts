// Best of n: eight edits of the seed, four at a time, none knowing of another. What a search has to beat.
//   OPENAI_API_KEY=… npx node examples/methods/best-of-n.ts openai:gpt-5-mini
// In a project of your own the imports are from 'lamarck', 'lamarck/methods/lse' and 'lamarck/tasks/qa'.
import { evolve } from '../../src/index.ts'
import { bestOfN } from '../../src/methods/lse.ts'
import { qaTask } from '../../src/tasks/qa.ts'

const run = evolve({
  task: qaTask({
    name: 'topic',
    data: new URL('../topic/topic.jsonl', import.meta.url).pathname,
    context: 'Say what the text is about: sports, food, weather or money.',
    scorer: 'label',
  }),
  model: process.argv[2] ?? 'openai:gpt-5-mini',
  method: bestOfN({ n: 8 }),
  inFlight: 4,
  budget: { calls: 1500 },
})
for await (const event of run.events) console.log(event.line)
await run.result
