// Signing in to the hosted service, where it asks for it: a key is exchanged for a token that holds for minutes and is sent in its place.
// Source: the service's own SDK; not run against the service.
import { EngineError } from '../../core/errors.ts'
import { record, type Wire } from './wire.ts'

/** A token with less left is exchanged first. */
const least = 60_000 // ms

/** Gives a token that holds; `wire` is signed with the key. All who ask at once get the same. @throws as a request does. */
export function signIn(wire: Wire, now: () => number = Date.now): () => Promise<string> {
  let token: string | undefined
  let asking: Promise<string> | undefined
  const fetched = async (): Promise<string> => {
    const { jwt } = record(await wire.send('POST', 'auth/token', { body: {} }))
    if (typeof jwt !== 'string' || !(endOf(jwt) > now()))
      throw new EngineError(`${wire.url}/api/v1/auth/token gave no token that holds`)
    return jwt
  }
  return async () => {
    if (token !== undefined && endOf(token) - now() > least) return token
    asking ??= fetched().finally(() => {
      asking = undefined
    })
    token = await asking
    return token
  }
}

/** When a token ends, in milliseconds; 0 if it does not say. It came from the server itself: its signature is not read. */
function endOf(jwt: string): number {
  try {
    const claims: unknown = JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString())
    const { exp } = record(claims)
    return typeof exp === 'number' ? exp * 1000 : 0
  } catch {
    return 0
  }
}
