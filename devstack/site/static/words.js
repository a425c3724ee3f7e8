/** Numbers, times and rows as words. Pure: it runs anywhere. */

const MINUTE = 60
const HOUR = 3_600
const DAY = 86_400

const numbers = (digits) =>
  new Intl.NumberFormat('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })
const [whole, one, two] = [numbers(0), numbers(1), numbers(2)]

export const count = (number, noun) => `${whole.format(number)} ${noun}${number === 1 ? '' : 's'}`

/** A length of time in its largest fitting unit: 59 s, 12 min, 5 h, 3 d. */
export function duration(seconds) {
  const length = Math.max(0, seconds)
  if (length < 100) return `${Math.floor(length)} s`
  if (length < 100 * MINUTE) return `${Math.round(length / MINUTE)} min`
  return length < 2 * DAY ? `${Math.round(length / HOUR)} h` : `${Math.round(length / DAY)} d`
}

/** A price; small ones, and what belongs to them, with more digits. */
export const price = (value, like = value) =>
  Number.isFinite(value) ? (Math.abs(like) < 1 ? numbers(4) : two).format(value) : ''

/** A change with its sign in words and marks, since colour alone tells nothing to many. */
export function change(row) {
  if (!Number.isFinite(row?.change)) return ''
  const mark = row.change > 0 ? '▲' : row.change < 0 ? '▼' : '■'
  const percentage = Number.isFinite(row.change_percentage) ? ` (${two.format(Math.abs(row.change_percentage))} %)` : ''
  return `${mark} ${price(Math.abs(row.change), row.price)}${percentage}`
}

const joined = (...parts) => parts.filter((part) => part !== null && part !== undefined && part !== '').join(' · ')
const known = (value, tell) => (Number.isFinite(value) ? tell(value) : '')

/** By data type: one telling thing of its rows, the newest first. */
const GLIMPSES = {
  quote: ([row]) => joined(known(row.day_low, (low) => `today ${price(low)} to ${price(row.day_high)}`)),
  profile: ([row]) => joined(row.industry ?? row.sector, row.country),
  'ratios-ttm': ([row]) => known(row.price_to_earnings_ratio_ttm, (ratio) => `price to earnings ${one.format(ratio)}`),
  'financial-statements': ([row]) =>
    joined(
      `${row.fiscal_year} ${row.period}`,
      known(row.income_statement?.revenue, (revenue) => `revenue ${compact.format(revenue)} ${row.reported_currency}`),
    ),
  'dividend-history': ([row]) =>
    joined(row.date, known(row.dividend, (dividend) => numbers(3).format(dividend))),
  'shares-float': ([row]) => known(row.free_float, (share) => `${one.format(share)} % free float`),
  'revenue-segmentation': ([row]) => `${row.fiscal_year} · ${count(Object.keys(row.data ?? {}).length, 'segment')}`,
  'grades-historical': ([row]) => {
    const buy = (row.analyst_ratings_strong_buy ?? 0) + (row.analyst_ratings_buy ?? 0)
    return `${row.date} · ${buy} buy, ${row.analyst_ratings_hold ?? 0} hold`
  },
  'exchange-variants': (rows) => joined(...new Set(rows.map((row) => row.exchange_short_name))),
  'available-exchanges': (rows) => count(rows.length, 'exchange'),
  'exchange-market-status': (rows) => `${rows.filter((row) => row.is_market_open).length} of ${rows.length} open`,
}

/** What a card shows of a pair; nothing where there are no rows. */
export const glimpse = (dataType, rows) =>
  rows?.length ? (GLIMPSES[dataType]?.(rows) ?? count(rows.length, 'row')) : ''

const OUTCOMES = {
  changed: 'changed',
  unchanged: 'checked, unchanged',
  empty: 'the upstream has nothing',
  rejected: 'answer was older than ours',
  failed: 'last refresh failed',
}

export const outcomeOf = (outcome) => OUTCOMES[outcome] ?? 'never refreshed'
