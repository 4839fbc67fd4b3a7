import { expect, test } from 'vitest'
import { typed } from './words.ts'

test.each([
  [{}, 'lamarck report'],
  [{ npm_command: 'exec', npm_lifecycle_event: 'npx' }, 'npx lamarck report'],
  [{ npm_package_name: 'lamarck', npm_lifecycle_event: 'start' }, 'npm run lamarck -- report'],
  [{ npm_package_name: 'lamarck', npm_lifecycle_event: 'lamarck', npm_command: 'run-script' }, 'npm run lamarck -- report'],
  [{ npm_package_name: 'shop', npm_lifecycle_event: 'start' }, 'lamarck report'],
])('a command is shown as it can be typed, where npm says %o', (npm, command) => {
  expect(typed('lamarck report', npm)).toBe(command)
})
