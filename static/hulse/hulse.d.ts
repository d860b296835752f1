/** Any JSON. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** A place in a stream's order, `epoch-offset`: to be kept and given back, not to be looked into. */
export type Position = string;

/** `waiting`: lost, and tried again after `wait` milliseconds. */
export type State = "connecting" | "open" | "waiting" | "closed";

export type Transport = "websocket" | "events" | "poll";

export interface Status {
  transport: Transport | null;
  /** Of `waiting`: milliseconds. */
  wait?: number;
  /** Of `waiting`, after a WebSocket: its close code and reason. */
  code?: number;
  reason?: string;
  /** Of `waiting`, after a request: the answer's status if it was refused. */
  error?: Error & { status?: number };
}

/** Somebody who is there, however many connections they have. */
export interface Person<P = Json> {
  key: string;
  data: P;
}

/** The server's word on a join. */
export interface Joined<P = Json> {
  joined: string;
  /** What follows comes right after it. */
  at: Position;
  /** Nothing is missing since the place the stream was at. */
  recovered: boolean;
  /** The state as a whole, if the stream has one and nothing could be recovered. */
  snapshot?: Json;
  present?: Person<P>[];
}

/**
 * `denied`, `unknown`, `bad`, `taken`, `too_many` and `too_large` are final;
 * `unavailable` and `failed` are tried again.
 */
export interface StreamError {
  error: string;
  stream: string;
  reason?: string;
}

export interface Handlers<D = Json, P = Json> {
  /** A message: the JSON that was sent, a string, or bytes. */
  data?(data: D, at: Position): void;
  /** Joined, also after each reconnect. */
  joined?(info: Joined<P>): void;
  /** Who is there now; `change` is missing when the list came as a whole. */
  presence?(people: Person<P>[], change?: { joined?: Person<P>; left?: Person<P> }): void;
  /** The server has ended it. */
  left?(): void;
  /** The server refuses it; it is not asked again. */
  error?(error: StreamError): void;
  /** A place kept from before: go on from there. */
  at?: Position;
}

export interface Stream<D = Json, P = Json> {
  readonly name: string;
  readonly state: "joining" | "joined" | "failed" | "refused" | "left";
  /** Where it is. */
  readonly at: Position | null;
  readonly present: Person<P>[];
  /**
   * Says something. Kept while there is no connection, and sent again until the server has answered:
   * it counts once. Rejected with `error`: the server's word, `bad` (it is no JSON), `too_large`
   * (more than 65,000 bytes), `denied` also of a stream that was left, `queue_full` or `closed`.
   */
  send(data: Json): Promise<{ at?: Position }>;
  leave(): void;
}

export interface Options {
  /** Called at every change of state. */
  status?(state: State, status: Status): void;
  /** Gets a ticket for each connection and request, where no cookie is sent: each is good once. */
  ticket?: () => string | Promise<string>;
  /** In the order they are tried: `["websocket", "events", "poll"]`. */
  transports?: Transport[];
  /** Sends that wait at most: 100. */
  queue?: number;
  /** As for `fetch`; `include` for another origin's cookies. */
  credentials?: RequestCredentials;
}

export interface Hulse {
  readonly state: State;
  readonly transport: Transport | null;
  /** Joins a stream; a function is short for `{ data }`. Once a name: again is leaving and joining. */
  join<D = Json, P = Json>(
    name: string,
    handlers?: Handlers<D, P> | ((data: D, at: Position) => void),
  ): Stream<D, P>;
  /** Connects anew, now. */
  restart(): void;
  close(): void;
}

/** A connection to the streams at `url`, kept open until it is closed. */
export function connect(url: string | URL, options?: Options): Hulse;

export interface PlainOptions {
  message?(data: string | ArrayBuffer): void;
  /** Opened, also after each loss; what it sends goes before what waits. */
  open?(socket: PlainSocket): void;
  close?(event: { code?: number; reason?: string }): void;
  status?(state: State, status: Status): void;
  protocols?: string | string[];
  ticket?: Options["ticket"];
  /** Messages that wait at most: 100. */
  queue?: number;
}

export interface PlainSocket {
  readonly state: State;
  /** Sends, or keeps it until the socket is open; false if too much waits already. */
  send(data: string | ArrayBuffer | Blob): boolean;
  restart(): void;
  close(): void;
}

/**
 * A plain WebSocket, for a consumer with a wire of its own, opened again whenever it is lost. A
 * function is asked for the URL each time: to say where to go on.
 */
export function socket(url: string | URL | (() => string | URL), options?: PlainOptions): PlainSocket;
