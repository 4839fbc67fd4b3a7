// Makes the checkpoint that Finch's policy begins from: npm run warm-start [FILE]. About three minutes of one core; the same machine makes the
// same file.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sharpen } from '../src/engines/jax/checkpoint.ts'
import { finchEngine, warmStartFile } from '../src/recipes/finch-policy.ts'
import { warmStart } from '../src/recipes/warm-start.ts'

/** Baked in: drawn at temperature 1, the policy closes nearly all its answers. */
const temperature = 0.8

const folder = mkdtempSync(join(tmpdir(), 'lamarck-warm-start-'))
const began = process.cpuUsage()
await using engine = await finchEngine({ folder, workers: 1, seed: 1 })
for await (const { step, loss } of warmStart(engine, { seed: 1 })) {
  if (step % 25 > 0) continue
  const { user, system } = process.cpuUsage(began)
  console.log(`step ${step}: −log p ${loss.toFixed(3)} a token, ${((user + system) / 1e6).toFixed(0)} s of CPU`)
}
const file = process.argv[2] ?? warmStartFile
await sharpen(await engine.save('raw', { optimizer: false }), file, temperature)
rmSync(folder, { recursive: true })
console.log(file)
