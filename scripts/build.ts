// Builds `dist/`: what is published. Development runs from source; Node refuses to strip types under node_modules.
import { execFileSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'

rmSync('dist', { recursive: true, force: true })
execFileSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' })
cpSync('src/recipes/finch-policy.safetensors', 'dist/recipes/finch-policy.safetensors')
