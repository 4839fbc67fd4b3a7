import { metrics } from '@opentelemetry/api'
import { expect, onTestFinished, test } from 'vitest'
import { gauges } from './gauges.ts'

test('numbers reach the meters of the process, by name, each gauge made once', async () => {
  const said: unknown[] = []
  const meter = {
    createGauge: (name: string) => {
      said.push(name)
      return { record: (value: number, attributes: object) => void said.push([name, value, attributes]) }
    },
  }
  // A toy has of a provider what a gauge takes.
  metrics.setGlobalMeterProvider({ getMeter: () => meter } as unknown as Parameters<typeof metrics.setGlobalMeterProvider>[0])
  onTestFinished(() => metrics.disable())
  const record = gauges('lamarck.train')
  await record({ reward: 0.5 }, { recipe: 'bird' })
  await record({ reward: 0.25 }, { recipe: 'bird' })
  expect(said).toEqual([
    'lamarck.train.reward',
    ['lamarck.train.reward', 0.5, { recipe: 'bird' }],
    ['lamarck.train.reward', 0.25, { recipe: 'bird' }],
  ])
})
