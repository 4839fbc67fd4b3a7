// The optional package, and its types.
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { MissingPackageError } from '../../core/errors.ts'

export type Jax = typeof import('@jax-js/jax')
export type Tensor = import('@jax-js/jax').Array

/**
 * Imports `@jax-js/jax`, from the `node_modules` of the folder `packages` if given.
 * @throws {MissingPackageError} if it is not there.
 */
export async function loadJax(packages?: string): Promise<Jax> {
  const name = '@jax-js/jax'
  try {
    if (packages === undefined) return await import(name)
    return await import(pathToFileURL(createRequire(join(resolve(packages), 'x.js')).resolve(name)).href)
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw cause
    const where = packages === undefined ? '' : ` in ${packages}`
    throw new MissingPackageError(`${name} is not installed${where}: run npm install ${name}@0.1.25`, { cause })
  }
}
