/** What a page reads: the rows of what it shows, and how they are. Failures are reported and come out as nothing. */

const TIMEOUT_MS = 15_000
const MAX_ROWS = 500

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
  #statusView
  #report

  constructor(client, statusView, report) {
    this.#client = client
    this.#statusView = statusView
    this.#report = report
  }

  /** The states of pairs, by place; null where they cannot be read. */
  async states(pairs) {
    const distinct = (name) => [...new Set(pairs.map((pair) => pair[name]))]
    const { data, error } = await ask(() =>
      this.#client
        .from(this.#statusView)
        .select('symbol,data_type,checked_at,outcome,fresh_until')
        .in('symbol', distinct('place'))
        .in('data_type', distinct('dataType')),
    )
    if (!data) this.#report(error)
    return data && new Map(data.map((state) => [`${state.symbol} ${state.data_type}`, state]))
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
