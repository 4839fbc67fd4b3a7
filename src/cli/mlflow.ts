// A training's numbers to an MLflow server over REST, where MLFLOW_TRACKING_URI names one; one run of it a folder, also after a kill.
// Source: MLflow's REST API 2.0. Numbers of a step that is done again are sent again.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError, StoreError } from '../core/errors.ts'

export interface Mlflow {
  /** Numbers after a step. @throws {StoreError} if the server does not take them: the training can be gone on with. */
  log(step: number, values: Readonly<Record<string, number>>): Promise<void>
  end(status: 'FINISHED' | 'FAILED' | 'KILLED'): Promise<void>
}

export interface MlflowOptions {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Remembers the run's id. */
  readonly folder: string
  readonly name: string
  readonly params: Readonly<Record<string, unknown>>
}

/** Longest value of a parameter. */
const longest = 500

/** Undefined where no server is configured. @throws {ConfigError} if it can't be reached or refuses. */
export async function mlflow({ env, folder, name, params }: MlflowOptions): Promise<Mlflow | undefined> {
  const { MLFLOW_TRACKING_URI: url, MLFLOW_TRACKING_TOKEN: token, MLFLOW_EXPERIMENT_NAME: experiment = 'lamarck' } = env
  if (!url) return undefined
  if (!/^https?:/.test(url)) throw new ConfigError(`MLFLOW_TRACKING_URI is ${url}: give the address of a server, http://…`)
  const ask = async (method: 'GET' | 'POST', path: string, body?: object): Promise<Response> => {
    const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) }
    const request = { method, headers, signal: AbortSignal.timeout(30_000), ...(body && { body: JSON.stringify(body) }) }
    return fetch(`${url.replace(/\/+$/, '')}/api/2.0/mlflow/${path}`, request)
  }
  const send = async (path: string, body: object): Promise<unknown> => {
    try {
      const answer = await ask('POST', path, body)
      const text = await answer.text()
      if (!answer.ok) throw new StoreError(`MLflow at ${url} refuses ${path} (${answer.status}): ${text.slice(0, 200)}`)
      return JSON.parse(text || '{}')
    } catch (cause) {
      if (cause instanceof StoreError) throw cause
      throw new StoreError(`MLflow at ${url} does not answer ${path}: ${cause instanceof Error ? cause.message : cause}`, {
        cause,
      })
    }
  }
  const file = join(folder, 'mlflow-run')
  const run = existsSync(file) ? readFileSync(file, 'utf8').trim() : await begun().catch(asConfig)
  writeFileSync(file, run)

  async function begun(): Promise<string> {
    const found = await ask('GET', `experiments/get-by-name?experiment_name=${encodeURIComponent(experiment)}`).catch(
      (cause: unknown) => {
        throw new StoreError(`MLflow at ${url} does not answer`, { cause })
      },
    )
    const id = found.ok
      ? idIn(await found.json(), 'experiment', 'experiment_id')
      : idIn(await send('experiments/create', { name: experiment }), 'experiment_id')
    const body = { experiment_id: id, run_name: name, start_time: Date.now() }
    const made = idIn(await send('runs/create', body), 'run', 'info', 'run_id')
    const said = Object.entries(params).map(([key, value]) => ({ key, value: String(value).slice(0, longest) }))
    await send('runs/log-batch', { run_id: made, params: said })
    return made
  }

  return {
    async log(step, values) {
      const timestamp = Date.now()
      const metrics = Object.entries(values).map(([key, value]) => ({ key, value, timestamp, step }))
      if (metrics.length > 0) await send('runs/log-batch', { run_id: run, metrics })
    },
    async end(status) {
      await send('runs/update', { run_id: run, status, end_time: Date.now() })
    },
  }
}

function asConfig(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error)
  throw new ConfigError(`${message}; mend MLFLOW_TRACKING_URI, or unset it`, { cause: error })
}

/** The id at a path inside an answer. */
function idIn(answer: unknown, ...path: readonly string[]): string {
  const found = path.reduce<unknown>((at, name) => (at as Readonly<Record<string, unknown>> | undefined)?.[name], answer) // looked at below
  if (typeof found === 'string' && /^[\w-]+$/.test(found)) return found
  throw new StoreError(`expected ${path.join('.')} from MLflow, got ${JSON.stringify(answer)?.slice(0, 80)}`)
}
