// A SkyRL server on loopback, with a tiny random model if no other is given, that can be killed and started again.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createWriteStream, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { installSkyrl } from '../../scripts/skyrl/install.ts'

export interface SkyrlServer extends AsyncDisposable {
  readonly url: string
  /** Where it writes checkpoints: a folder a model. */
  readonly checkpoints: string
  /** At once, with all it started. */
  kill(): Promise<void>
  /** Again, with the same address, files and database. */
  start(): Promise<void>
}

/** Rows of one compiled training pass. */
export const microBatch = 16

const script = (name: string): string => fileURLToPath(new URL(`../../scripts/skyrl/${name}`, import.meta.url))

export interface SkyrlOptions {
  /** A folder with a model. */
  readonly model?: string
  /** Rows of one compiled training pass, and of one of draws. */
  readonly rows?: number
}

export async function skyrlServer({ model: given, rows = microBatch }: SkyrlOptions = {}): Promise<SkyrlServer> {
  const { python, folder: cache } = installSkyrl()
  const folder = mkdtempSync(join(tmpdir(), 'lamarck-skyrl-'))
  const model = given ?? join(folder, 'tiny')
  if (given === undefined) execFileSync(python, [script('tiny_model.py'), model])
  const port = await freePort()
  const log = join(folder, 'log')
  let running: ChildProcess | undefined
  const settings = {
    max_lora_adapters: 4,
    max_lora_rank: 8,
    train_micro_batch_size: rows,
    sample_max_num_sequences: rows,
  }
  const args = [
    ...['--base-model', model, '--backend', 'jax', '--host', '127.0.0.1', '--port', String(port)],
    ...['--database-url', `sqlite:///${join(folder, 'tinker.db')}`, '--checkpoints-base', join(folder, 'checkpoints')],
    ...['--backend-config', JSON.stringify(settings)],
  ]
  const env = {
    ...process.env,
    HF_HUB_OFFLINE: '1',
    JAX_PLATFORMS: 'cpu',
    JAX_COMPILATION_CACHE_DIR: join(cache, 'jax'),
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS: '0',
    JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES: '-1',
    COLUMNS: '200', // its log is wrapped to the width of a terminal
  }

  const server: SkyrlServer = {
    url: `http://127.0.0.1:${port}`,
    checkpoints: join(folder, 'checkpoints'),
    async start() {
      const child = spawn(python, [script('serve.py'), ...args], {
        env,
        cwd: folder,
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      running = child
      const file = createWriteStream(log, { flags: 'a' })
      await new Promise<void>((settle, fail) => {
        let said = ''
        const read = (chunk: Buffer): void => {
          file.write(chunk)
          said += chunk
          // Before, it answers but waits.
          if (said.includes('Starting background engine')) settle()
        }
        child.stdout.on('data', read)
        child.stderr.on('data', read)
        child.once('error', fail)
        child.once('exit', (code) => fail(new Error(`the server ended with ${code}:\n${said.slice(-2000)}`)))
      })
    },
    async kill() {
      const child = running
      running = undefined
      if (!child?.pid || child.exitCode !== null) return
      const ended = new Promise<void>((settle) => void child.once('exit', () => settle()))
      process.kill(-child.pid, 'SIGKILL')
      await ended
    },
    async [Symbol.asyncDispose]() {
      await server.kill()
      if (process.env.SKYRL_LOG && existsSync(log)) console.error(readFileSync(log, 'utf8'))
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
  await server.start()
  return server
}

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((settle) => void probe.listen(0, '127.0.0.1', settle))
  const address = probe.address()
  await new Promise((settle) => probe.close(settle))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
