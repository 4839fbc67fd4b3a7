// Reflexion: after a wrong answer the model says what to do next time; the last three such lines stand in the part "memory".
//   OPENAI_API_KEY=… npx node examples/methods/reflexion.ts openai:gpt-5-mini
// In a project of your own the imports are from 'lamarck' and 'lamarck/tasks/qa'.
import { evolve } from '../../src/index.ts'
import { qaTask } from '../../src/tasks/qa.ts'

const run = evolve({
  task: qaTask({
    name: 'topic',
    data: new URL('../topic/topic.jsonl', import.meta.url).pathname,
    context: { instructions: 'Say what the text is about: sports, food, weather or money.', memory: '' },
    scorer: 'label',
  }),
  model: process.argv[2] ?? 'openai:gpt-5-mini',
  method: 'reflexion',
  rounds: 12,
  budget: { calls: 1500 },
})
for await (const event of run.events) console.log(event.line)
await run.result
