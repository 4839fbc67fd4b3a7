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
const ended = `${begun}{"kind":"ended","why":"done","best":{"step":0,"checkpoint":"x"}}\n`

test('the best policy of a training that ended is exported as one file, never over another', async () => {
  const at = folder({ 'facts.jsonl': ended, 'policy.safetensors': 'weights' })
  const out = join(at, 'mine.safetensors')
  expect(await policyCommand('export', at, { out })).toBe(0)
  expect(readFileSync(out, 'utf8')).toBe('weights')
  await expect(policyCommand('export', at, { out })).rejects.toThrow('mine.safetensors is there already: give another file')
})

test.each([
  [{}, { out: 'x' }, /^no training in .*: see lamarck policy list$/],
  [{ 'facts.jsonl': begun }, { out: 'x' }, /has not ended: go on with lamarck train --out /],
  [{ 'facts.jsonl': '', 'policy.safetensors': 'of another' }, { out: 'x' }, /has not ended: go on with/],
  [{ 'facts.jsonl': begun, 'policy.safetensors': 'of another' }, { out: 'x' }, /has not ended: go on with/],
  [{ 'facts.jsonl': `${begun}null\n` }, { out: 'x' }, /^line 2 of .* is damaged, or the file is not the record/],
  [{ 'facts.jsonl': `${begun}{"kind":"st\n${begun}` }, { out: 'x' }, /^line 2 of .* is damaged/],
  [{ 'facts.jsonl': '{"kind":"set"}\n' }, { out: 'x' }, /^line 1 of .* is damaged/],
  [{ 'facts.jsonl': ended, 'policy.safetensors': '' }, {}, /^where to\? give a file/],
  [{ 'facts.jsonl': ended, 'policy.safetensors': '' }, { out: '/none/x' }, /^\/none\/x can't be written: ENOENT/],
])('export from %j with %j is refused in one line', async (files, flags, line) => {
  await expect(policyCommand('export', folder(files), flags)).rejects.toThrow(line)
  expect(existsSync('x')).toBe(false)
})
