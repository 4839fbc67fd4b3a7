// RoboPhD: contexts play matches on training problems; only what comes to lead the ratings is scored on the holdout.
//   OPENAI_API_KEY=… npx node examples/methods/robophd.ts openai:gpt-5-mini
// In a project of your own the imports are from 'lamarck', 'lamarck/methods/robophd' and 'lamarck/tasks/qa'.
import { evolve } from '../../src/index.ts'
import { robophd } from '../../src/methods/robophd.ts'
import { qaTask } from '../../src/tasks/qa.ts'

const run = evolve({
  task: qaTask({
    name: 'topic',
    data: new URL('../topic/topic.jsonl', import.meta.url).pathname,
    context: 'Say what the text is about: sports, food, weather or money.',
    scorer: 'label',
  }),
  model: process.argv[2] ?? 'openai:gpt-5-mini',
  method: robophd({ players: 4 }),
  rounds: 20,
  budget: { calls: 1500 },
})
for await (const event of run.events) console.log(event.line)
await run.result
