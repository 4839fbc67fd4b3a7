// Makes the folder that SkyRL serves SmolLM2-135M from (540 MB), once, out of the GGUF file that scripts/fetch-smollm2.ts fetches, and prints it.
// Usage: node scripts/skyrl/smollm2.ts FILE.gguf
import { execFileSync } from 'node:child_process'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { installSkyrl } from './install.ts'

/** Reads a GGUF file; what it needs came with SkyRL. */
const reader = 'gguf==0.19.0'

/** The folder of a GGUF file's model; made if it is not there. */
export function modelFolder(file: string): string {
  const { python, folder } = installSkyrl()
  const at = join(folder, basename(file, '.gguf'))
  if (existsSync(at)) return at
  const part = `${at}.part`
  rmSync(part, { recursive: true, force: true })
  const run = (...args: string[]): void => void execFileSync(python, args, { stdio: ['ignore', 2, 2] })
  run('-m', 'pip', 'install', '--quiet', '--no-deps', reader)
  run(fileURLToPath(new URL('from_gguf.py', import.meta.url)), file, part)
  renameSync(part, at)
  return at
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [, , file] = process.argv
  if (!file) throw new Error('usage: node scripts/skyrl/smollm2.ts FILE.gguf (npm run fetch-smollm2 prints one)')
  console.log(modelFolder(file))
}
