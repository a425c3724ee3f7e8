/** What a page reads: the rows of what it shows, and how they are. Failures are reported and come out as nothing. */

const TIMEOUT_MS = 15_000
const MAX_ROWS = 500
const NOT_THERE = new Set(['42P01', 'PGRST205']) // PostgreSQL's word for it, and PostgREST's

/** When to give up a request that was made now. */
export const timeout = () => AbortSignal.timeout(TIMEOUT_MS)

/** Where the state of a pair is found. */
export const placeOf = ({ place, dataType }) => `${place} ${dataType}`

/** Make a query and have its answer, in time; whatever is thrown is an error in it. */
export async function ask(query) {
  try {
    const { data, error } = await query().abortSignal(timeout())
    return { data, error }
  } catch (error) {
    return { data: null, error }
  }
}

/** What a row of the status view says; nothing is known without one. */
export function describe(state) {
  const [checkedAt, freshUntil] = [state?.checked_at, state?.fresh_until].map((at) => (at ? new Date(at) : null))
  return { checkedAt, freshUntil, outcome: state?.outcome ?? null, isFresh: Number(freshUntil) > Date.now() }
}

/** Reads for several pairs at a time, with as few requests as it takes. */
export class Reader {
  #client
  #statusViews
  #report

  /** Where the status view has two names, the one that is there is used, also when that changes. */
  constructor(client, statusViews, report) {
    this.#client = client
    this.#statusViews = statusViews
    this.#report = report
  }

  /** The states of pairs, by place; null where they cannot be read. */
  async states(pairs) {
    const [view, other] = this.#statusViews
    let { data, error } = await this.#statesIn(view, pairs)
    if (other && NOT_THERE.has(error?.code)) {
      const second = await this.#statesIn(other, pairs)
      if (second.data) this.#statusViews = [other, view]
      if (!NOT_THERE.has(second.error?.code)) ({ data, error } = second)
    }
    if (!data) this.#report(error)
    return data && new Map(data.map((state) => [`${state.symbol} ${state.data_type}`, state]))
  }

  #statesIn(view, pairs) {
    const distinct = (name) => [...new Set(pairs.map((pair) => pair[name]))]
    return ask(() =>
      this.#client
        .from(view)
        .select('symbol,data_type,checked_at,outcome,fresh_until')
        .in('symbol', distinct('place'))
        .in('data_type', distinct('dataType')),
    )
  }

  /** Renew the rows of pairs, except of those that get newer ones meanwhile. */
  async rows(pairs) {
    const groups = new Map() // what one request can bring: the only rows of several symbols, or all rows of one
    for (const pair of pairs) {
      const name = pair.source.many ? placeOf(pair) : pair.dataType
      groups.set(name, [...(groups.get(name) ?? []), pair])
    }
    await Promise.all([...groups.values()].map((group) => this.#group(group)))
  }

  async #group(group) {
    const versions = group.map((pair) => pair.version)
    const symbols = group.map((pair) => pair.symbol)
    const { table, key, many, order } = group[0].source
    const { data, error } = await ask(() => {
      let query = this.#client.from(table).select('*')
      if (key) query = query.in(key, symbols)
      if (order) query = query.order(order, { ascending: false })
      return many ? query.limit(MAX_ROWS) : query
    })
    if (!data) return this.#report(error)
    group.forEach((pair, index) => {
      if (pair.version !== versions[index]) return
      pair.rows = key ? data.filter((row) => row[key] === pair.symbol) : data
      pair.reread = false
    })
  }
}
