/** As much of a supabase-js client as the module uses, with a server that answers as a test says. */

const MINUTE_MS = 60_000

/** A row of the status view. */
export const stateOf = (symbol, dataType, checkedAt, freshMs = MINUTE_MS) => ({
  symbol,
  data_type: dataType,
  checked_at: new Date(checkedAt).toISOString(),
  outcome: 'changed',
  fresh_until: new Date(Date.now() + freshMs).toISOString(),
})

export class FakeClient {
  /** Rows by table; an error with its `code`, or a promise of either. What is not here has no rows. */
  tables = {}
  /** The tables that were read. */
  requests = []
  /** The bodies that the function was called with. */
  calls = []
  /** What was said in presence, null for an untrack. */
  tracks = []
  takeTrack = () => 'ok'
  answerCall = () => ({})
  functions = { invoke: (_, { body }) => this.#call(body) }
  #channels = new Set()

  getChannels = () => [...this.#channels]
  removeChannel = async (channel) => this.#channels.delete(channel)

  from(table) {
    this.requests.push(table)
    const tests = []
    const query = {
      in: (column, values) => tests.push((row) => values.includes(row[column])) && query,
      then: (resolve, reject) => this.#read(table, tests).then(resolve, reject),
    }
    for (const name of ['select', 'eq', 'order', 'limit', 'abortSignal']) query[name] = () => query
    return query
  }

  channel(topic) {
    const track = async (payload) => this.takeTrack(payload, this.tracks.push(payload))
    const channel = { topic: `realtime:${topic}`, bindings: [], track, untrack: () => track(null) }
    channel.on = (event, asked, callback) => channel.bindings.push({ event, asked, callback })
    channel.subscribe = (told) => queueMicrotask(() => this.#join(Object.assign(channel, { told })))
    this.#channels.add(channel)
    return channel
  }

  hears = (symbol) => Boolean(this.#of(symbol)?.told)

  /** Have a symbol's channel lose its connection and join again. */
  rejoin(symbol) {
    const channel = this.#of(symbol)
    channel.told('CHANNEL_ERROR', new Error('lost'))
    this.#join(channel)
  }

  /** Have a symbol's channel told of a new row. */
  push(symbol, table, row) {
    const change = { eventType: 'UPDATE', new: row, old: {}, errors: null }
    for (const { event, asked, callback } of this.#of(symbol).bindings) {
      if (event === 'postgres_changes' && asked.table === table) callback(change)
    }
  }

  #of = (symbol) => this.getChannels().find(({ topic }) => topic === `realtime:symbol:${symbol}`)

  #join({ told, bindings }) {
    told('SUBSCRIBED')
    const word = { status: 'ok', extension: 'postgres_changes', message: 'Subscribed to PostgreSQL' }
    if (bindings.some(({ event }) => event === 'postgres_changes')) {
      for (const { event, callback } of bindings) if (event === 'system') callback(word)
    }
  }

  async #call(body) {
    this.calls.push(body)
    return { data: await this.answerCall(body), error: null }
  }

  async #read(table, tests) {
    const found = (await this.tables[table]) ?? []
    if (!Array.isArray(found)) return { data: null, error: found }
    return { data: found.filter((row) => tests.every((test) => test(row))), error: null }
  }
}
