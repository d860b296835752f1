// Hulse in the browser: streams that miss nothing, over whatever gets through.
//
//   import { connect } from "/static/hulse/hulse.js";
//   const live = connect("/stream/");
//   const chat = live.join("chat/4", { data: (data, at) => .., presence: (people) => .. });
//   await chat.send({ text: "Hello" });
//
// One connection carries all streams: a WebSocket; if none gets through, server-sent events; then
// long polls. Each stream keeps the place it is at (`at`), and goes on from there. What is sent is
// kept with its key until the server has said where it stands, and sent again after a loss: the
// server takes each key once. Types and words on all of it: hulse.d.ts.

const BACKOFF = 500; // ms: the longest first wait; each further one is twice as long
const BACKOFF_MAX = 30000;
const OPEN_WAIT = 10000; // ms until something that does not answer counts as blocked
const SILENCE = 60000; // ms without a heartbeat until a stream of events counts as broken
const STABLE = 5000; // ms a connection has to last for the next wait to be a first one
const QUEUE = 100; // sends that wait at most

const FINAL = ["denied", "unknown", "bad", "taken", "too_many", "too_large"];

/** A text nobody can guess. */
const secret = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

/** Calls a handler; what it throws is its own trouble. */
const call = (handler, ...given) => {
  try {
    handler?.(...given);
  } catch (error) {
    setTimeout(() => { throw error; });
  }
};

/** Something that is kept open: waits with full jitter, heeds the network and the server's word. */
class Link {
  state = "connecting";
  transport = null;
  #tries = 0;
  #after = null;
  #timer = 0;
  #stop = null;

  constructor(options, ways) {
    this.options = options;
    this.ways = ways;
    this.hasOpened = false;
    this.way = 0;
    addEventListener("online", this.#online = () => this.#stop ? 0 : this.#open(true));
    addEventListener("offline", this.#offline = () => this.#stop && this.#lost(this.#stop));
    // Not yet: the caller first says what it wants.
    this.#timer = setTimeout(() => this.#open());
  }
  #online;
  #offline;

  /** Ends it for good. */
  close() {
    if (this.state === "closed") return;
    clearTimeout(this.#timer);
    removeEventListener("online", this.#online);
    removeEventListener("offline", this.#offline);
    const stop = this.#stop;
    this.#stop = null;
    stop?.();
    this.#say("closed");
    this.ended?.();
  }

  /** Connects anew, now. */
  restart() {
    const stop = this.#stop;
    this.#stop = null;
    stop?.();
    clearTimeout(this.#timer);
    // All that is joined in one turn is asked for at once.
    if (this.state !== "closed") this.#timer = setTimeout(() => this.#open());
  }

  /** The server's wish for the next wait: [min, max] in milliseconds. */
  after(window) {
    this.#after = window;
  }

  async #open(isFresh) {
    clearTimeout(this.#timer);
    if (isFresh) this.#tries = this.way = 0;
    const name = this.ways[this.way];
    this.#say("connecting", name);
    let began = 0;
    const stop = (this.#stop = () => run.close());
    const run = this[name]({
      // It answers.
      opened: () => {
        if (this.#stop !== stop || began) return;
        began = Date.now();
        this.hasOpened ||= name === "websocket";
        this.#say("open", name);
      },
      lost: (told) => this.#lost(stop, began, told),
      isCurrent: () => this.#stop === stop,
    });
  }

  #lost(stop, began, told) {
    if (this.#stop !== stop) return;
    this.#stop = null;
    stop();
    clearTimeout(this.#timer);
    if (began) {
      if (Date.now() - began > STABLE) this.#tries = 0;
      this.way = 0;
    } else if (this.way + 1 < this.ways.length && (!this.hasOpened || this.#tries > 2)) {
      // Perhaps this way is blocked: the next one at once.
      this.way += 1;
      return this.#open();
    } else {
      this.way = 0;
    }
    const [min, max] = this.#after ?? [0, Math.min(BACKOFF_MAX, BACKOFF * 2 ** this.#tries++)];
    this.#after = null;
    const wait = min + Math.random() * (max - min);
    this.#say("waiting", null, { wait, ...told });
    this.#timer = setTimeout(() => this.#open(), wait);
  }

  #say(state, transport = null, more) {
    this.state = state;
    this.transport = transport;
    call(this.options.status, state, { transport, ...more });
  }

  /** A WebSocket at `url`. */
  async dial(url, run, { opened, lost, isCurrent }, ready, heard) {
    const held = {};
    run.close = () => {
      clearTimeout(held.timer);
      held.socket?.close();
    };
    try {
      const full = await this.address(url);
      if (!isCurrent()) return;
      full.protocol = full.protocol.replace("http", "ws");
      const socket = (held.socket = new WebSocket(full, this.options.protocols ?? []));
      socket.binaryType = "arraybuffer";
      held.timer = setTimeout(lost, OPEN_WAIT);
      socket.onopen = () => isCurrent() && ready(socket, () => { clearTimeout(held.timer); opened(); });
      socket.onmessage = (event) => isCurrent() && heard(event.data);
      socket.onclose = (event) => lost({ code: event.code, reason: event.reason });
    } catch (error) {
      lost({ error });
    }
  }

  /** The URL with a ticket if it takes one. */
  async address(url) {
    const full = new URL(typeof url === "function" ? url() : url, location.href);
    const { ticket } = this.options;
    if (ticket) full.searchParams.set("ticket", typeof ticket === "function" ? await ticket() : ticket);
    return full;
  }
}

class Hulse extends Link {
  #url;
  #streams = new Map();
  #sends = new Map();
  #client = secret();
  #last = 0;
  #write = null;
  #retry = 0;
  #isSending = false;

  constructor(url, options) {
    super(options, options.transports ?? ["websocket", "events", "poll"]);
    this.#url = url;
  }

  join(name, handlers = {}) {
    if (typeof handlers === "function") handlers = { data: handlers };
    this.#streams.get(name)?.leave();
    const stream = new Stream(this, name, handlers);
    stream.at = handlers.at ?? null;
    this.#streams.set(name, stream);
    this.#changed(join(stream));
    return stream;
  }

  leave(stream) {
    if (this.#streams.get(stream.name) !== stream) return;
    this.#streams.delete(stream.name);
    this.#changed({ leave: stream.name });
  }

  send(stream, data) {
    return new Promise((resolve, reject) => {
      const refuse = (error) => reject(Object.assign(new Error(error), { error, stream }));
      if (this.state === "closed") return refuse("closed");
      if (this.#sends.size >= (this.options.queue ?? QUEUE)) return refuse("queue_full");
      const key = `${this.#client}-${++this.#last}`;
      const send = { frame: { send: stream, key, data }, resolve, refuse };
      this.#sends.set(key, send);
      this.#push([send]);
    });
  }

  ended() {
    clearTimeout(this.#retry);
    for (const send of this.#sends.values()) send.refuse("closed");
    this.#sends.clear();
  }

  /** What is joined has changed: a socket is told, a request is made anew. */
  #changed(frame) {
    if (this.#write) this.#write(frame);
    else if (this.transport && this.transport !== "websocket") this.restart();
  }

  #push(sends) {
    if (this.#write) for (const { frame } of sends) this.#write(frame);
    else if (this.state === "open") this.#post();
  }

  /** Asks again for what could not be done at the moment. */
  #again() {
    this.#retry ||= setTimeout(() => {
      this.#retry = 0;
      for (const stream of this.#streams.values()) if (stream.state === "failed") this.#changed(join(stream));
      this.#push(this.#sends.values());
    }, 1000 + Math.random() * 1000);
  }

  #hear(frame) {
    const { at } = frame;
    if ("drain" in frame) return this.after(frame.drain.after);
    if ("sent" in frame) return this.#answer(frame.sent)?.resolve({ at });
    if ("left" in frame) {
      const gone = this.#streams.get(frame.left);
      if (gone?.state !== "joined") return; // What this side has left.
      gone.state = "refused";
      return call(gone.handlers.left);
    }
    const stream = this.#streams.get(frame.stream ?? frame.joined);
    if ("error" in frame) {
      const isFinal = FINAL.includes(frame.error);
      if (frame.key) isFinal ? this.#answer(frame.key)?.refuse(frame.error) : this.#again();
      else if (stream) {
        stream.state = isFinal ? "refused" : "failed";
        isFinal ? call(stream.handlers.error, frame) : this.#again();
      }
      return;
    }
    if (!stream || (at && "stream" in frame && !isLater(at, stream.at))) return;
    if (at) stream.at = at;
    if ("joined" in frame) {
      stream.state = "joined";
      if (frame.present) stream.people = new Map(frame.present.map((who) => [who.key, who.data]));
      call(stream.handlers.joined, frame);
      if (frame.present) stream.gathered();
    } else if ("presence" in frame) {
      const { joined, left } = frame.presence;
      if (joined) stream.people.set(joined.key, joined.data);
      if (left) stream.people.delete(left.key);
      stream.gathered(frame.presence);
    } else {
      call(stream.handlers.data, "bytes" in frame ? bytes(frame.bytes) : frame.data, at);
    }
  }

  #answer(key) {
    const send = this.#sends.get(key);
    this.#sends.delete(key);
    return send;
  }

  /** Streams that are not refused. */
  #wanted() {
    return [...this.#streams.values()].filter((stream) => stream.state !== "refused");
  }

  websocket(events) {
    const run = {};
    const ready = (socket, settled) => {
      const write = (this.#write = (frame) => socket.send(JSON.stringify(frame)));
      write({ hello: this.#client });
      const wanted = this.#wanted();
      wanted.forEach((stream) => write(join(stream)));
      // Some boxes in between open a socket and let nothing through.
      run.settled = settled;
      if (!wanted.length) settled();
      this.#push(this.#sends.values());
    };
    const lost = (told) => {
      if (events.isCurrent()) this.#write = null;
      events.lost(told);
    };
    this.dial(this.#url, run, { ...events, lost }, ready, (text) => {
      run.settled();
      this.#hear(JSON.parse(text));
    });
    const { close } = run;
    run.close = () => {
      this.#write = null;
      close();
    };
    return run;
  }

  events(events) {
    return this.#read(events, "text/event-stream", async (response, alive) => {
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { done, value } = await reader.read();
        if (done) return true;
        alive();
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        for (const line of parts.join("\n").split("\n")) {
          if (line.startsWith("data: ")) this.#hear(JSON.parse(line.slice(6)));
        }
      }
    });
  }

  poll(events) {
    // The first question is not to wait: its answer shows that this way is open.
    return this.#read(events, "application/json", async (response) => {
      for (const frame of await response.json()) this.#hear(frame);
    });
  }

  /** Asks with GETs; `take` handles an answer and says whether that was the end of the connection. */
  #read({ opened, lost, isCurrent }, accept, take) {
    const abort = new AbortController();
    let timer = 0;
    let isOpen = false;
    const alive = (wait) => {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), wait);
    };
    const loop = async () => {
      while (isCurrent()) {
        const wanted = this.#wanted();
        if (!wanted.length) return opened(); // The next join begins anew.
        const url = await this.address(this.#url);
        for (const stream of wanted) {
          url.searchParams.append("join", stream.name);
          if (stream.at) url.searchParams.append("at", stream.at);
        }
        if (!isOpen && accept === "application/json") url.searchParams.set("wait", 0);
        const { credentials = "same-origin" } = this.options;
        alive(accept === "application/json" ? SILENCE : OPEN_WAIT);
        const asked = { headers: { accept }, credentials, cache: "no-store", signal: abort.signal };
        const response = await fetch(url, asked);
        if (!isCurrent()) return;
        if (!response.ok && response.headers.get("content-type")?.startsWith("text/plain")) {
          throw Object.assign(new Error(`${response.status}`), { status: response.status });
        }
        const isEnd = await take(response, () => {
          if (!isCurrent()) throw new Error("over");
          alive(SILENCE);
          opened();
          this.#post();
        });
        if (!isCurrent()) return;
        // Refused as a whole: what is not refused for good is asked for again after a while.
        if (isEnd || !response.ok) return this.#wanted().length ? lost() : opened();
        opened();
        isOpen = true;
        this.#post();
      }
    };
    loop().catch((error) => lost({ error })).finally(() => clearTimeout(timer));
    return { close: () => abort.abort() };
  }

  /** Sends what waits, one after the other. */
  async #post() {
    if (this.#isSending || this.#write) return;
    this.#isSending = true;
    try {
      for (const { frame } of this.#sends.values()) {
        const { credentials = "same-origin" } = this.options;
        const response = await fetch(await this.address(this.#url), {
          method: "POST",
          headers: { "content-type": "application/json" },
          credentials,
          body: JSON.stringify({ ...frame, client: this.#client }),
        });
        // Words instead of a frame: not this stream, but the page is refused.
        const isText = response.headers.get("content-type")?.startsWith("text/plain");
        if (isText && response.status < 500) this.#answer(frame.key)?.refuse("denied");
        else this.#hear(await response.json());
      }
    } catch {
      this.#again();
    }
    this.#isSending = false;
  }
}

class Stream {
  state = "joining";
  at = null;
  people = new Map();

  constructor(live, name, handlers) {
    Object.assign(this, { live, name, handlers });
  }

  send(data) {
    return this.live.send(this.name, data);
  }

  leave() {
    this.live.leave(this);
  }

  get present() {
    return Array.from(this.people, ([key, data]) => ({ key, data }));
  }

  gathered(change) {
    call(this.handlers.presence, this.present, change);
  }
}

const join = ({ name, at }) => (at ? { join: name, at } : { join: name });

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

/** Whether `at` comes after `known`; in another order, whatever its number. */
const isLater = (at, known) => {
  const [[epoch, offset], [before, last]] = [at, known ?? "-"].map((text) => text.split("-"));
  return epoch !== before || +offset > +last;
};

/** A plain WebSocket with a wire of the site's own, opened again whenever it is lost. */
class Plain extends Link {
  #queue = [];
  #socket = null;

  constructor(url, options) {
    super(options, ["websocket"]);
    this.url = url;
  }

  websocket(events) {
    const run = {};
    const lost = (told) => {
      if (events.isCurrent()) {
        this.#socket = null;
        call(this.options.close, told ?? {});
      }
      events.lost(told);
    };
    const ready = (socket, settled) => {
      this.#socket = socket;
      settled();
      call(this.options.open, this);
      for (const data of this.#queue.splice(0)) socket.send(data);
    };
    this.dial(this.url, run, { ...events, lost }, ready, (data) => call(this.options.message, data));
    return run;
  }

  /** Sends now or once it is open; false if too much waits already. */
  send(data) {
    if (this.#socket?.readyState === 1) this.#socket.send(data);
    else if (this.state === "closed" || this.#queue.length >= (this.options.queue ?? QUEUE)) return false;
    else this.#queue.push(data);
    return true;
  }
}

export const connect = (url, options = {}) => new Hulse(url, options);
export const socket = (url, options = {}) => new Plain(url, options);
