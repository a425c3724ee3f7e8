/** A Realtime channel that stays joined, and what is tracked in it. */

const STEADY_MS = 60_000
const MAX_RETRY_MS = 30_000
const MAX_TRACK_MS = 60_000

/**
 * A private channel that is joined again for as long as it is open. What it tracks is tracked again after every join,
 * and where it was not taken, but never more than once in an interval. It never throws: what goes wrong is reported,
 * once until it is well again.
 */
export class StandingChannel {
  #client
  #topic
  #choices
  #channel = null
  #left = Promise.resolve()
  #types = new Set()
  #closed = false
  #joined = false
  #joinedAt = 0
  #tries = 0
  #retryTimer
  #payload = ''
  #tracked = ''
  #trackedAt = -Infinity
  #refusals = 0
  #trackTimer
  #problem = ''

  /** Since when nobody needs it; null while somebody does. */
  idleSince = null

  /**
   * @param {object} client A supabase-js client.
   * @param {string} topic
   * @param {object} choices
   * @param {number} choices.intervalMs At most one track in it.
   * @param {{ key: string, enabled: boolean }} choices.presence
   * @param {(channel: object, types: Set<string>) => void} choices.bind Binds the changes of these data types.
   * @param {() => void} choices.ready Called when changes have begun to arrive.
   * @param {(error: Error) => void} choices.report
   */
  constructor(client, topic, choices) {
    this.#client = client
    this.#topic = topic
    this.#choices = choices
  }

  /** Be joined, and receive changes of at least these data types; more than before takes a new join. */
  need(types) {
    this.idleSince = null
    if ([...types].some((type) => !this.#types.has(type))) {
      this.#types = types
      this.#leave()
    }
    this.#open()
  }

  /** Track this, or nothing. Of what is said within an interval the last is tracked. */
  say(payload) {
    this.#payload = payload ? JSON.stringify(payload) : ''
    this.#trackWhenAllowed()
  }

  async close() {
    this.#closed = true
    this.#leave()
    await this.#left
  }

  async #open() {
    await this.#left
    if (this.#closed || this.#channel) return
    clearTimeout(this.#retryTimer)
    try {
      if (this.#client.getChannels().some(({ topic }) => topic === `realtime:${this.#topic}`)) {
        throw new Error('this channel of the client is in use: by the page itself, or by another createRefresh')
      }
      const { presence, bind } = this.#choices
      const channel = this.#client.channel(this.#topic, { config: { private: true, presence } })
      this.#channel = channel
      channel.on('system', {}, (message) => this.#hear(message))
      bind(channel, this.#types)
      channel.subscribe((status, error) => channel === this.#channel && this.#follow(status, error))
    } catch (error) {
      this.#openLater(error)
    }
  }

  #follow(status, error) {
    this.#joined = status === 'SUBSCRIBED'
    if (status === 'SUBSCRIBED') {
      this.#joinedAt = Date.now()
      this.#problem = ''
      this.#tracked = '' // the server has forgotten it
      this.#refusals = 0
      this.#trackWhenAllowed()
    } else if (status === 'CLOSED') this.#openLater(error ?? new Error('closed'))
    else this.#tell(error ?? new Error(status)) // the client joins again by itself
  }

  #hear({ status, extension, message }) {
    if (status === 'error') this.#tell(new Error(message))
    else if (extension === 'postgres_changes') this.#choices.ready()
  }

  #openLater(error) {
    this.#leave()
    if (this.#closed) return
    if (this.#joinedAt && Date.now() - this.#joinedAt > STEADY_MS) this.#tries = 0
    this.#joinedAt = 0
    this.#tries += 1
    if (this.#tries > 1) this.#tell(error) // once is a restart, or an earlier channel that is just leaving
    const delay = Math.min(MAX_RETRY_MS, 250 * 2 ** this.#tries) * (0.5 + Math.random())
    this.#retryTimer = setTimeout(() => this.#open(), delay)
  }

  #leave() {
    const channel = this.#channel
    this.#channel = null
    this.#joined = false
    clearTimeout(this.#retryTimer)
    clearTimeout(this.#trackTimer)
    this.#trackTimer = undefined
    if (channel) this.#left = Promise.resolve(this.#client.removeChannel(channel)).catch((error) => this.#tell(error))
  }

  #trackWhenAllowed() {
    if (!this.#joined || this.#trackTimer || this.#payload === this.#tracked) return
    const { intervalMs } = this.#choices
    const pause = Math.min(MAX_TRACK_MS, intervalMs * 2 ** Math.max(0, this.#refusals - 2))
    const wait = this.#trackedAt + Math.max(intervalMs, pause) - Date.now()
    this.#trackTimer = setTimeout(() => this.#track(), Math.max(0, wait))
  }

  async #track() {
    this.#trackTimer = undefined
    if (!this.#joined || this.#payload === this.#tracked) return
    const [channel, payload, at] = [this.#channel, this.#payload, Date.now()]
    this.#tracked = payload
    this.#trackedAt = at
    const isLatest = () => channel === this.#channel && at === this.#trackedAt
    try {
      const answer = await (payload ? channel.track(JSON.parse(payload)) : channel.untrack())
      if (answer !== 'ok') throw new Error(`the presence was not taken: ${answer}`)
      if (!isLatest()) return
      if (this.#refusals) this.#problem = ''
      this.#refusals = 0
    } catch (error) {
      if (!isLatest()) return
      this.#tell(error)
      this.#tracked = null // what the server has now is not known
      this.#refusals += 1
      this.#trackWhenAllowed()
    }
  }

  #tell(error) {
    const message = `${this.#topic}: ${error?.message ?? error}`
    if (message === this.#problem) return
    this.#problem = message
    this.#choices.report(new Error(message, { cause: error }))
  }
}
