// What a page does with the official client: it shows what it is told to, and tells what happens to it.
// It runs in Node and in browsers; who loads it brings the client's class and, where there is none, a WebSocket.

export function openPage(RealtimeClient, { url, key, token, transport, vsn }, tell) {
  const client = new RealtimeClient(url, {
    params: { apikey: key },
    accessToken: async () => token,
    reconnectAfterMs: () => 50,
    transport,
    vsn,
  })
  const channels = new Map()
  const shown = new Map()

  async function track(topic) {
    const payload = shown.get(topic)
    const channel = channels.get(topic)
    const answer = await (payload ? channel.track(payload) : channel.untrack())
    tell({ event: payload ? 'tracked' : 'untracked', topic, answer })
  }

  function join(topic, prepare = () => {}) {
    const channel = client.channel(topic, {
      config: { private: true, presence: { enabled: true }, broadcast: { self: true, ack: true } },
    })
    channels.set(topic, channel)
    prepare(channel)
    channel.subscribe((status, error) => {
      tell({ event: 'status', topic, status, error: error ? String(error.message) : null })
      if (status === 'SUBSCRIBED' && shown.get(topic)) track(topic)
    })
  }

  return {
    show(topic, payload) {
      shown.set(topic, payload)
      if (!channels.has(topic)) join(topic)
      else if (channels.get(topic).state === 'joined') track(topic)
    },
    follow(topic, filter) {
      join(topic, (channel) => {
        channel.on('postgres_changes', filter, (change) => tell({ event: 'changed', change }))
        channel.on('system', {}, (message) => tell({ event: 'system', message }))
      })
    },
    listen(topic, name) {
      join(topic, (channel) => {
        channel.on('broadcast', { event: name }, (message) => tell({ event: 'heard', payload: message.payload }))
      })
    },
    async say(topic, name, payload) {
      const answer = await channels.get(topic).send({ type: 'broadcast', event: name, payload })
      tell({ event: 'said', answer })
    },
    leave() {
      client.disconnect()
    },
  }
}
