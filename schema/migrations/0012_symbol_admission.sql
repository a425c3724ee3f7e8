-- Symbols that a page shows and the upstream knows can be taken into the allow-list (REFRESHD_SYMBOL_ADMISSION=verify).
-- The daemon may add rows; it may neither remove nor activate any.

grant insert (symbol, exchange) on supported_symbols to refreshd_daemon;
