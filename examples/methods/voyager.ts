// Voyager: problems that fail alike become a task, a skill is written for it, and it joins the library once it is shown to work.
//   OPENAI_API_KEY=… npx node examples/methods/voyager.ts openai:gpt-5-mini
// In a project of your own the imports are from 'lamarck', 'lamarck/methods/voyager' and 'lamarck/tasks/qa'.
import { evolve } from '../../src/index.ts'
import { voyager } from '../../src/methods/voyager.ts'
import { qaTask } from '../../src/tasks/qa.ts'

const run = evolve({
  task: qaTask({
    name: 'topic',
    data: new URL('../topic/topic.jsonl', import.meta.url).pathname,
    context: { instructions: 'Say what the text is about: sports, food, weather or money.', skills: '' },
    scorer: 'label',
  }),
  model: process.argv[2] ?? 'openai:gpt-5-mini',
  method: voyager({ attempts: 3 }),
  rounds: 12,
  budget: { calls: 1500 },
})
for await (const event of run.events) console.log(event.line)
await run.result
