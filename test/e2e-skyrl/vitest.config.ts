import { defineConfig, type ViteUserConfigExport } from 'vitest/config'

/** Its own, so that `npm test` leaves it out. */
const config: ViteUserConfigExport = defineConfig({
  test: { include: ['test/e2e-skyrl/*.test.ts'], testTimeout: 300_000, hookTimeout: 400_000 },
})

export default config
