/**
 * A stand-in of the development stack for @supabase/supabase-js: as much of it as `browser/refreshd.js` uses, so that
 * the demo needs no npm. It is made for the demo and for nothing else: a page of your own uses the official client.
 */

const HEARTBEAT_MS = 15_000
const ANSWER_MS = 10_000
const MAX_RETRY_MS = 5_000

const delayOf = (tries) => Math.min(MAX_RETRY_MS, 250 * 2 ** tries) * (0.5 + Math.random() / 2)

/**
 * @param {string} url Where the data API, the functions and Realtime are.
 * @param {string} key The publishable key, or the `anon` JWT.
 * @param {{ accessToken?: () => Promise<string> }} options
 */
export function createClient(url, key, { accessToken = async () => key } = {}) {
  const address = `${url.replace(/^http/, 'ws')}/realtime/v1/websocket`
  const socket = new Socket(`${address}?${new URLSearchParams({ apikey: key, vsn: '1.0.0' })}`)
  const request = async (path, { headers, ...rest } = {}) => {
    const own = { apikey: key, Authorization: `Bearer ${await accessToken()}` }
    return fetch(url + path, { ...rest, headers: { ...own, ...headers } })
  }
  return {
    from: (table) => new Query(request, table),
    functions: { invoke: (name, options) => invoke(request, name, options) },
    channel: (topic, { config } = {}) => new Channel(socket, `realtime:${topic}`, config, accessToken),
    getChannels: () => [...socket.channels],
    removeChannel: (channel) => channel.unsubscribe(),
  }
}

async function invoke(request, name, { body, signal } = {}) {
  try {
    const headers = { 'Content-Type': 'application/json' }
    const asked = { method: 'POST', body: JSON.stringify(body), headers, signal }
    const answer = await request(`/functions/v1/${name}`, asked)
    if (!answer.ok) throw new Error(`the function answers with status ${answer.status}`)
    return { data: await answer.json(), error: null }
  } catch (error) {
    return { data: null, error }
  }
}

/** A request for rows; it is sent when somebody waits for it. */
class Query {
  #request
  #path
  #parameters = new URLSearchParams()

  constructor(request, table) {
    this.#request = request
    this.#path = `/rest/v1/${encodeURIComponent(table)}`
  }

  in(column, values) {
    return this.#with(column, `in.(${values.join(',')})`)
  }

  select = (columns = '*') => this.#with('select', columns)
  eq = (column, value) => this.#with(column, `eq.${value}`)
  order = (column, { ascending = true } = {}) => this.#with('order', `${column}.${ascending ? 'asc' : 'desc'}`)
  limit = (count) => this.#with('limit', String(count))
  abortSignal = (signal) => Object.assign(this, { signal })
  then = (resolve, reject) => this.#ask().then(resolve, reject)

  #with(name, value) {
    this.#parameters.append(name, value)
    return this
  }

  async #ask() {
    try {
      const answer = await this.#request(`${this.#path}?${this.#parameters}`, { signal: this.signal })
      const body = await answer.json()
      return answer.ok ? { data: body, error: null } : { data: null, error: body }
    } catch (error) {
      return { data: null, error: { message: error.message, code: '' } }
    }
  }
}

/** One WebSocket for all channels, in version 1.0.0 of the protocol. It connects again for as long as there are any. */
class Socket {
  channels = new Set()
  #url
  #socket = null
  #refs = 0
  #answers = new Map()
  #tries = 0
  #timers = []

  constructor(url) {
    this.#url = url
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN
  }

  newRef() {
    this.#refs += 1
    return String(this.#refs)
  }

  connect() {
    if (this.#socket) return
    const socket = new WebSocket(this.#url)
    this.#socket = socket
    socket.onopen = () => {
      this.#tries = 0
      this.#timers.push(setInterval(() => this.#beat(), HEARTBEAT_MS))
      for (const channel of this.channels) channel.join()
    }
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data))
    socket.onclose = () => this.#lose()
  }

  /** Send a message and resolve with its answer: `{ status, response }`. */
  async push(topic, event, payload, joinRef, ref = this.newRef()) {
    if (!this.isOpen) return { status: 'error', response: { reason: 'not connected' } }
    const answer = new Promise((resolve) => this.#answers.set(ref, resolve))
    const timer = setTimeout(() => this.#settle(ref, { status: 'timed out', response: {} }), ANSWER_MS)
    this.#socket.send(JSON.stringify({ topic, event, payload, ref, join_ref: joinRef }))
    const settled = await answer
    clearTimeout(timer)
    return settled
  }

  #settle(ref, answer) {
    this.#answers.get(ref)?.(answer)
    this.#answers.delete(ref)
  }

  #take({ topic, event, payload, ref }) {
    if (event === 'phx_reply') return this.#settle(ref, payload)
    for (const channel of this.channels) if (channel.topic === topic) channel.take(event, payload, ref)
  }

  async #beat() {
    const { status } = await this.push('phoenix', 'heartbeat', {})
    if (status !== 'ok') this.#socket?.close()
  }

  #lose() {
    this.#socket = null
    this.#timers.splice(0).forEach(clearInterval)
    const lost = { status: 'error', response: { reason: 'connection lost' } }
    for (const ref of [...this.#answers.keys()]) this.#settle(ref, lost)
    for (const channel of this.channels) channel.lose(new Error('the connection was lost'))
    this.#tries += 1
    setTimeout(() => this.channels.size && this.connect(), delayOf(this.#tries))
  }
}

class Channel {
  #socket
  #config
  #accessToken
  #bindings = []
  #told = null
  #joinRef = null
  #joined = false
  #tries = 0

  constructor(socket, topic, config = {}, accessToken) {
    this.topic = topic
    this.#socket = socket
    this.#config = config
    this.#accessToken = accessToken
    socket.channels.add(this)
  }

  on(event, filter, callback) {
    this.#bindings.push({ event, filter, callback })
    return this
  }

  subscribe(told) {
    this.#told = told
    if (this.#socket.isOpen) this.join()
    else this.#socket.connect()
    return this
  }

  async join() {
    const joinRef = this.#socket.newRef()
    this.#joinRef = joinRef
    const asked = this.#bindings.filter(({ event }) => event === 'postgres_changes')
    const config = { ...this.#config, postgres_changes: asked.map(({ filter }) => filter) }
    const payload = { config, access_token: await this.#accessToken() }
    const { status, response } = await this.#socket.push(this.topic, 'phx_join', payload, joinRef, joinRef)
    if (joinRef !== this.#joinRef) return
    if (status !== 'ok') return this.#fail(status, new Error(response.reason ?? status))
    response.postgres_changes.forEach(({ id }, index) => Object.assign(asked[index], { id }))
    this.#joined = true
    this.#tries = 0
    this.#told('SUBSCRIBED')
  }

  track = (payload) => this.#say({ type: 'presence', event: 'track', payload })
  untrack = () => this.#say({ type: 'presence', event: 'untrack' })

  async unsubscribe() {
    const joinRef = this.#joinRef
    this.#joinRef = null
    if (joinRef) await this.#socket.push(this.topic, 'phx_leave', {}, joinRef)
    this.#close()
    return 'ok'
  }

  take(event, payload, ref) {
    if (event === 'phx_close' && ref === this.#joinRef) this.#close()
    else if (event === 'phx_error') this.#fail('error', new Error('the channel has crashed'))
    else if (event === 'postgres_changes') this.#change(payload)
    else if (event === 'system') for (const each of this.#bindings) if (each.event === event) each.callback(payload)
  }

  lose(error) {
    if (this.#joined) this.#told?.('CHANNEL_ERROR', error)
    this.#joined = false
    this.#joinRef = null
  }

  async #say(payload) {
    return (await this.#socket.push(this.topic, 'presence', payload, this.#joinRef)).status
  }

  #change({ ids, data }) {
    const { type, record, old_record: old, ...rest } = data
    const change = { ...rest, eventType: type, new: record ?? {}, old: old ?? {} }
    for (const { id, callback } of this.#bindings) if (ids.includes(id)) callback(change)
  }

  #fail(status, error) {
    this.#joined = false
    const failed = (this.#joinRef = this.#socket.newRef())
    this.#tries += 1
    this.#told(status === 'timed out' ? 'TIMED_OUT' : 'CHANNEL_ERROR', error)
    setTimeout(() => failed === this.#joinRef && this.join(), delayOf(this.#tries))
  }

  #close() {
    this.#joinRef = null
    this.#joined = false
    this.#socket.channels.delete(this)
    this.#told?.('CLOSED')
  }
}
