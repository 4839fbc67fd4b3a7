// OpenTelemetry gauges of a training. Nothing is loaded unless the process has registered something with OpenTelemetry.
import type { Gauge } from '@opentelemetry/api'

/** Where `@opentelemetry/api` 1.x keeps what a process has registered. */
const registry: symbol = Symbol.for('opentelemetry.js.api.1')

/** Records numbers by name, as `prefix.name`, where the process has meters. */
export function gauges(
  prefix: string,
): (values: Readonly<Record<string, number>>, attributes: Readonly<Record<string, string>>) => Promise<void> {
  const made = new Map<string, Gauge>()
  return async (values, attributes) => {
    if (!(registry in globalThis)) return
    const { metrics } = await import('@opentelemetry/api')
    const meter = metrics.getMeter('lamarck')
    for (const [name, value] of Object.entries(values)) {
      const gauge = made.get(name) ?? meter.createGauge(`${prefix}.${name}`)
      made.set(name, gauge)
      gauge.record(value, attributes)
    }
  }
}
