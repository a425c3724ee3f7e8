/** What may be asked for, and what of it fits into one presence. Pure: it runs anywhere. */

const MAX_PAYLOAD_BYTES = 2_000 // the daemon drops what is larger than 2,048
const MAX_PAIRS = 100
const MAX_TICKET_LENGTH = 768

/** How many data types of a symbol the daemon reads. */
export const MAX_TYPES = 20

/** Whether refreshd could know this symbol. */
export const isSymbol = (text) => typeof text === 'string' && /^[A-Z0-9^][A-Z0-9.^=-]{0,19}$/.test(text)

/** Whether this could be the name of a data type. */
export const isDataType = (text) => typeof text === 'string' && /^[a-z][a-z0-9-]{0,40}$/.test(text)

/**
 * The lobby of a viewer: the FNV-1a hash of its id, spread over the shards.
 * @param {string} id
 * @param {number} shards
 */
export function lobbyOf(id, shards = 1) {
  let hash = 0x811c9dc5
  for (const byte of new TextEncoder().encode(id)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return `viewers:${hash % Math.max(1, Math.floor(shards) || 1)}`
}

/**
 * As many views as the daemon reads of one page, the first ones first. What comes out does not depend on their order
 * where all of them fit: the same views are the same payload.
 * @param {Iterable<[string, Iterable<string>]>} wanted Symbols and their data types.
 * @param {object} rest What else is in the payload.
 * @returns {{ views: Record<string, string[]>, omitted: number }}
 */
export function packViews(wanted, rest = {}) {
  const packed = []
  let left = MAX_PAYLOAD_BYTES - new TextEncoder().encode(JSON.stringify({ ...rest, views: {} })).length
  let pairs = MAX_PAIRS
  let omitted = 0
  for (const [symbol, types] of wanted) {
    const taken = [...types].sort().slice(0, MAX_TYPES)
    const bytes = JSON.stringify({ [symbol]: taken }).length - 1
    if (bytes > left || taken.length > pairs) {
      omitted += 1
      continue
    }
    packed.push([symbol, taken])
    left -= bytes
    pairs -= taken.length
  }
  packed.sort(([a], [b]) => (a < b ? -1 : 1))
  return { views: Object.fromEntries(packed), omitted }
}

/**
 * When a ticket ends, in milliseconds since 1970; null for what is no ticket.
 * @param {unknown} ticket
 */
export function ticketEndsAt(ticket) {
  if (typeof ticket !== 'string' || ticket.length > MAX_TICKET_LENGTH) return null
  const match = /^1\.(\d{1,12})\.[\w-]+\.[\w-]+$/.exec(ticket)
  return match && Number(match[1]) * 1000
}
