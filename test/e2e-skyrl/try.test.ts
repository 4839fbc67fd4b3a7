import { tinkerEngine } from '../../src/engines/tinker/tinker-engine.ts'
import { engineContract } from '../contracts/engine.ts'
import { tinyAnswer, tinyTokenizer } from './tiny-tokenizer.ts'

engineContract('tinker on SkyRL', async () => ({
  engine: await tinkerEngine({
    url: 'http://127.0.0.1:8123',
    tokenizer: tinyTokenizer,
    context: 512,
    rank: 8,
    seed: 7,
    isPretrained: false,
    multiple: 16,
  }),
  answer: tinyAnswer,
  learningRate: 1e-2,
}))
