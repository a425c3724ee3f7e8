/** What is needed of a supabase-js client; `createClient(...)` of `@supabase/supabase-js` version 2 has it. */
export interface RefreshClient {
  channel(topic: string, options?: any): any
  getChannels(): { topic: string }[]
  removeChannel(channel: any): Promise<unknown>
  from(relation: string): any
  functions: { invoke(name: string, options?: any): Promise<any> }
}

/** Where the rows of a data type are. */
export interface Source {
  /** A table of the schema `public` that pages may read and that is published to Realtime. */
  table: string
  /** The column that holds the symbol; null where the rows are the same for every symbol. */
  key: string | null
  /** Whether a symbol has several rows. */
  many?: boolean
  /** The column by which the newest row is the first. */
  order?: string
}

/** How a pair of a symbol and a data type is. */
export interface State {
  /** When refreshd has last asked for it. */
  checkedAt: Date | null
  /** Until when nothing newer is worth asking for. */
  freshUntil: Date | null
  outcome: 'changed' | 'unchanged' | 'empty' | 'rejected' | 'failed' | null
  /** Whether it was fresh when this was told. */
  isFresh: boolean
}

/** What a watcher is told. */
export interface Value<Row = Record<string, any>> extends State {
  symbol: string
  dataType: string
  /** The row, or the newest of several; null where there is none yet. */
  row: Row | null
  rows: Row[]
}

export interface RefreshOptions {
  /** Who looks, or a function that knows and is asked every `checkSeconds`; left out, the page counts as a connection. */
  userId?: string | null | (() => string | null | undefined)
  /** Whether the page tracks everything in one lobby, or each symbol in a topic of its own. Default `lobby`. */
  topics?: 'lobby' | 'symbol'
  /** REFRESHD_LOBBY_SHARDS of the daemon. Default 1. */
  lobbyShards?: number
  /** At most one presence message of a channel in this time. Default 8; Realtime closes a channel at the sixth in 30 seconds. */
  trackIntervalSeconds?: number
  /** For how long a hidden tab still counts. Default 60. */
  hiddenSeconds?: number
  /** How often the page looks who it is for, and which of its values to ask for again. Default 5. */
  checkSeconds?: number
  /** The edge function that is told what is shown and may answer with a ticket; null for none. Default `track-subscription-v2`. */
  trackFunction?: string | null
  /** The table or view with `flag_name` and `enabled`; null asks for none. What pages may not read counts as on. Default `feature_flags`. */
  flagTable?: string | null
  /** Default `refresh_status_v2`, or `refresh_status` where that is not there; a name that is given is the only one. */
  statusView?: string
  /** More data types, or other tables, by the name of the type. */
  tables?: Record<string, Source>
  /** Gets everything that goes wrong. Default: `console.debug`. */
  onError?: (error: Error) => void
}

export interface Refresh {
  /**
   * Count as a viewer of the symbol, until the function that is returned is called.
   * @param onChange Gets the value as soon as it is read, and whenever it or its state changes: a changed row at once with
   *   the state that was known before, then with its own.
   */
  watch<Row = Record<string, any>>(
    symbol: string,
    dataTypes: string | readonly string[],
    onChange?: (value: Value<Row>) => void,
  ): () => void
  /** How old a value is and how the last refresh went; null where that is not known. Never rejects. */
  status(symbol: string, dataType: string): Promise<(State & { ageSeconds: number | null }) | null>
  /** Leave all channels, stop all timers. Nothing can be watched afterwards. */
  close(): Promise<void>
}

/** The tables of refreshd's own data types. */
export const TABLES: Readonly<Record<string, Source>>

/** Make one of a client, and share it between all cards of the page. */
export function createRefresh(client: RefreshClient, options?: RefreshOptions): Refresh
