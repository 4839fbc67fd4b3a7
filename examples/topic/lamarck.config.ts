// Which of four topics a sentence is about. With a small local model, offline and without a key, from the root of this repository:
//   npm run fetch-smollm2        (prints the path of the model file; node-llama-cpp lies beside it)
//   LAMARCK_PACKAGES=FOLDER npm run lamarck -- evolve examples/topic/lamarck.config.ts --model llamacpp:FOLDER/FILE
// In a project of your own the imports are from 'lamarck' and 'lamarck/tasks/qa'.
import { defineConfig } from '../../src/index.ts'
import { rememberFailures } from '../../src/recipes/remember-failures.ts'
import { qaTask } from '../../src/tasks/qa.ts'

export default defineConfig({
  task: qaTask({
    name: 'topic',
    data: new URL('topic.jsonl', import.meta.url).pathname,
    context: { instructions: 'What is the topic of the text: sports, food, weather or money?', examples: [] },
    scorer: 'label',
    params: { maxTokens: 12 },
  }),
  evolver: rememberFailures().propose,
  rounds: 10,
  draws: 1,
  testDraws: 1,
})
