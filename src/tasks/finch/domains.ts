// The businesses of Finch: what their tables are called. People take part in events; events may concern items and happen at places.

/** Kinds of tables that words are about. */
export const kinds = ['people', 'events', 'items'] as const
export type Kind = (typeof kinds)[number]

export const setNames = ['train', 'dev', 'report'] as const
/** `train` and `dev` are for developing, `report` is for tables. */
export type SetName = (typeof setNames)[number]

export interface Domain {
  readonly name: string
  readonly set: SetName
  /** Names of tables, which are also the nouns of questions; none is in two domains. */
  readonly people: string
  readonly events: string
  readonly items?: string
  readonly places?: string
}

const table = `
train shop customers orders products stores
train clinic patients visits treatments
train school pupils lessons
train garage drivers repairs parts workshops
train gym athletes sessions
train bakery regulars deliveries breads
train insurer holders claims policies offices
train nursery gardeners purchases plants
dev library members loans books branches
dev hotel guests stays rooms
dev bank clients transfers
dev theatre subscribers tickets plays venues
report airline passengers bookings flights airports
report museum visitors tours exhibits
report lab researchers assays samples sites
report farm growers harvests`

export const domains: readonly Domain[] = table
  .trim()
  .split('\n')
  .map((line) => {
    const [set, name, people, events, items, places] = line.split(' ') as [SetName, string, string, string, string?, string?] // above
    return { set, name, people, events, ...(items !== undefined && { items }), ...(places !== undefined && { places }) }
  })

export function domainsIn(set: SetName): readonly Domain[] {
  return domains.filter((domain) => domain.set === set)
}
