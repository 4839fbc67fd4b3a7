// Makes the checkpoint that Finch's policy begins from: npm run warm-start [FILE]. About five minutes of one core; the same machine makes the
// same file. `npm run warm-start -- FILE --writer rewrite` makes one that writes whole notes, which is not shipped.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { sharpen } from '../src/engines/jax/checkpoint.ts'
import { finchEngine, warmStartFile } from '../src/recipes/finch-policy.ts'
import { warmStart } from '../src/recipes/warm-start.ts'
import { formats } from '../src/tasks/finch/editors.ts'

/** Baked in: drawn at temperature 1, the policy closes nearly all its answers. */
const temperature = 0.8

const { values, positionals } = parseArgs({ options: { writer: { type: 'string', default: 'lines' } }, allowPositionals: true })
const writer = formats.find((name) => name === values.writer)
const file = positionals[0] ?? (writer === 'lines' ? warmStartFile : undefined)
if (!writer || !file || positionals.length > 1)
  throw new Error('usage: npm run warm-start -- [FILE] [--writer lines], or FILE --writer rewrite')
const folder = mkdtempSync(join(tmpdir(), 'lamarck-warm-start-'))
const began = process.cpuUsage()
await using engine = await finchEngine({ folder, workers: 1, seed: 1 })
for await (const { step, loss } of warmStart(engine, { writer, seed: 1 })) {
  if (step % 25 > 0) continue
  const { user, system } = process.cpuUsage(began)
  console.log(`step ${step}: −log p ${loss.toFixed(3)} a token, ${((user + system) / 1e6).toFixed(0)} s of CPU`)
}
await sharpen(await engine.save('raw', { optimizer: false }), file, temperature)
rmSync(folder, { recursive: true })
console.log(file)
