import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { policyCommand } from './policy.ts'

function folder(files: Readonly<Record<string, string>>): string {
  const path = mkdtempSync(join(tmpdir(), 'lamarck-policy-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text)
  return path
}

const begun = '{"kind":"set","settings":{}}\n'

test('the best policy of a training that ended is exported as one file, never over another', async () => {
  const at = folder({ 'facts.jsonl': begun, 'policy.safetensors': 'weights' })
  const out = join(at, 'mine.safetensors')
  expect(await policyCommand('export', at, { out })).toBe(0)
  expect(readFileSync(out, 'utf8')).toBe('weights')
  await expect(policyCommand('export', at, { out })).rejects.toThrow('mine.safetensors is there already: give another file')
})

test.each([
  [{}, { out: 'x' }, /^no training in .*: see lamarck policy list$/],
  [{ 'facts.jsonl': begun }, { out: 'x' }, /has not ended: go on with lamarck train --out /],
  [{ 'facts.jsonl': begun, 'policy.safetensors': '' }, {}, /^where to\? give a file/],
  [{ 'facts.jsonl': begun, 'policy.safetensors': '' }, { out: '/none/x' }, /^\/none\/x can't be written: ENOENT/],
])('export from %j with %j is refused in one line', async (files, flags, line) => {
  await expect(policyCommand('export', folder(files), flags)).rejects.toThrow(line)
  expect(existsSync('x')).toBe(false)
})
