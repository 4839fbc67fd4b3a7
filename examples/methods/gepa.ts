// GEPA with merges on two parts of a context: two parents at a time, two edits each.
//   OPENAI_API_KEY=… npx node examples/methods/gepa.ts openai:gpt-5-mini
// In a project of your own the imports are from 'lamarck', 'lamarck/methods/gepa' and 'lamarck/tasks/qa'.
import { evolve } from '../../src/index.ts'
import { gepa } from '../../src/methods/gepa.ts'
import { qaTask } from '../../src/tasks/qa.ts'

const run = evolve({
  task: qaTask({
    name: 'topic',
    data: new URL('../topic/topic.jsonl', import.meta.url).pathname,
    context: { instructions: 'Say what the text is about.', format: 'Answer with sports, food, weather or money.' },
    scorer: 'label',
  }),
  model: process.argv[2] ?? 'openai:gpt-5-mini',
  method: gepa({ merge: true, proposals: 2 }),
  inFlight: 2,
  rounds: 200,
  budget: { calls: 1500 },
})
for await (const event of run.events) console.log(event.line)
await run.result
