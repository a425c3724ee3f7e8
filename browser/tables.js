/** Where values are. `key` null: the same rows for every symbol; `many`: rows, by `order` the newest first. */
export const TABLES = {
  quote: { table: 'live_quote_indicators', key: 'symbol' },
  profile: { table: 'profiles', key: 'symbol' },
  'ratios-ttm': { table: 'ratios_ttm', key: 'symbol' },
  'financial-statements': { table: 'financial_statements', key: 'symbol', many: true, order: 'date' },
  'dividend-history': { table: 'dividend_history', key: 'symbol', many: true, order: 'date' },
  'shares-float': { table: 'shares_float', key: 'symbol', many: true, order: 'date' },
  'revenue-segmentation': { table: 'revenue_product_segmentation', key: 'symbol', many: true, order: 'date' },
  'grades-historical': { table: 'grades_historical', key: 'symbol', many: true, order: 'date' },
  'exchange-variants': { table: 'exchange_variants', key: 'symbol', many: true },
  'available-exchanges': { table: 'available_exchanges', key: null, many: true },
  'exchange-market-status': { table: 'exchange_market_status', key: null, many: true },
}
