import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ConfigError, StoreError } from '../core/errors.ts'
import { mlflow } from './mlflow.ts'
import { numbersOf } from './train-llm.ts'

interface Sent {
  readonly path: string
  readonly body: Readonly<Record<string, unknown>>
  readonly key: string | undefined
}

/** Knows one experiment once it was made, and answers as `answers` says. */
async function server(answers: Readonly<Record<string, number>> = {}): Promise<{ readonly url: string; readonly sent: Sent[] }> {
  const sent: Sent[] = []
  let isMade = false
  const http = createServer((req, res) => {
    let text = ''
    req.on('data', (chunk) => (text += chunk))
    req.on('end', () => {
      const path = req.url!.replace('/api/2.0/mlflow/', '').replace(/\?.*/, '')
      sent.push({ path, body: JSON.parse(text || '{}'), key: req.headers.authorization })
      if (path === 'experiments/create') isMade = true
      const known: Readonly<Record<string, object | undefined>> = {
        'experiments/get-by-name': isMade ? { experiment: { experiment_id: '7' } } : undefined,
        'experiments/create': { experiment_id: '7' },
        'runs/create': { run: { info: { run_id: 'r1' } } },
      }
      const answer = path in known ? known[path] : {}
      res
        .writeHead(answers[path] ?? (answer ? 200 : 404))
        .end(JSON.stringify(answer ?? { error_code: 'RESOURCE_DOES_NOT_EXIST' }))
    })
  })
  await new Promise<void>((done) => http.listen(0, '127.0.0.1', done))
  onTestFinished(() => void http.close())
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`, sent } // it listens on a port
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'lamarck-mlflow-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

const about = { name: 'bird', params: { seed: 1 } }

test('a training is one run of MLflow, also after a kill, with its numbers by step', async () => {
  const { url, sent } = await server()
  const env = { MLFLOW_TRACKING_URI: `${url}/`, MLFLOW_TRACKING_TOKEN: 'k' }
  const options = { env, folder: folder(), ...about }
  const first = await mlflow(options)
  await first?.log(3, numbersOf({ kind: 'step', step: 3, metrics: { reward: 0.5 }, engine: { norm: 2, kl: Number.NaN } }))
  const second = await mlflow(options)
  await second?.end('FINISHED')
  expect(sent.map(({ path }) => path)).toEqual([
    'experiments/get-by-name',
    'experiments/create',
    'runs/create',
    'runs/log-batch',
    'runs/log-batch',
    'runs/update',
  ])
  expect(sent[2]?.body).toMatchObject({ experiment_id: '7', run_name: 'bird' })
  expect(sent[3]?.body).toEqual({ run_id: 'r1', params: [{ key: 'seed', value: '1' }] })
  expect(sent[4]?.body).toMatchObject({
    run_id: 'r1',
    metrics: [
      { key: 'reward', value: 0.5, step: 3 },
      { key: 'engine.norm', value: 2, step: 3 },
    ],
  })
  expect(sent[5]?.body).toMatchObject({ run_id: 'r1', status: 'FINISHED' })
  expect(new Set(sent.map(({ key }) => key))).toEqual(new Set(['Bearer k']))
  await mlflow({ ...options, folder: folder() }) // the experiment is there now
  expect(sent.slice(6).map(({ path }) => path)).toEqual(['experiments/get-by-name', 'runs/create', 'runs/log-batch'])
})

test('nothing is asked where no server is configured', async () => {
  expect(await mlflow({ env: {}, folder: folder(), ...about })).toBeUndefined()
})

test('a server that is none is refused before the training; one that fails later ends it, to be gone on with', async () => {
  const at = (url: string) => mlflow({ env: { MLFLOW_TRACKING_URI: url }, folder: folder(), ...about })
  await expect(at('file:./mlruns')).rejects.toThrow(
    'MLFLOW_TRACKING_URI is file:./mlruns: give the address of a server, http://…',
  )
  const gone = at('http://127.0.0.1:1')
  await expect(gone).rejects.toThrow(ConfigError)
  await expect(gone).rejects.toThrow('does not answer; mend MLFLOW_TRACKING_URI, or unset it')
  const full = await server({ 'runs/update': 507 })
  const tracked = await at(full.url)
  const refused = tracked?.end('KILLED')
  await expect(refused).rejects.toThrow(StoreError)
  await expect(refused).rejects.toThrow('refuses runs/update (507)')
})
