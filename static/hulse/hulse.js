// Hulse in the browser: streams that miss nothing, over whatever gets through.
//
//   import { connect } from "/static/hulse/hulse.js";
//   const live = connect("/stream/");
//   const chat = live.join("chat/4", { data: (data, at) => .., presence: (people) => .. });
//   await chat.send({ text: "Hello" });
//
// One connection carries all streams: a WebSocket; if none gets through, server-sent events; then
// long polls. Each stream goes on from its place (`at`). What is sent is kept until it is answered,
// and sent again after a loss. Types and words on all of it: hulse.d.ts.

const BACKOFF = 500; // ms: the longest first wait; each further one is twice as long
const BACKOFF_MAX = 30000;
const OPEN_WAIT = 10000; // ms until something that does not answer counts as blocked
const SILENCE = 60000; // ms without a heartbeat until a stream of events counts as broken
const STABLE = 5000; // ms a connection has to last for the next wait to be a first one
const QUEUE = 100; // sends that wait at most
const FRAME = 65000; // bytes of a send, nearly what the server takes
const STREAMS = 100; // streams the server lets one connection join
const PROBE = 300000; // ms until a better way is tried again

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

/** Something that is kept open. */
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
    addEventListener("online", this.#online = () => this.#stop ? this.doubt?.() : this.#open(true));
    addEventListener("offline", this.#offline = () => this.#stop && this.#lost(this.#stop));
    // Who slept may have lost the connection without a word.
    addEventListener("visibilitychange", this.#seen = () => document.hidden || this.doubt?.());
    this.#timer = setTimeout(() => this.#open());
  }
  #online;
  #offline;
  #seen;

  /** Ends it for good. */
  close() {
    if (this.state === "closed") return;
    removeEventListener("online", this.#online);
    removeEventListener("offline", this.#offline);
    removeEventListener("visibilitychange", this.#seen);
    this.#end();
    this.#say("closed");
    this.ended?.();
  }

  /** Connects anew, now. */
  restart() {
    this.#end();
    // All that is joined in one turn is asked for at once.
    if (this.state !== "closed") this.#timer = setTimeout(() => this.#open());
  }

  /** Ends what is there: a connection, or the wait for one. */
  #end() {
    clearTimeout(this.#timer);
    const stop = this.#stop;
    this.#stop = null;
    stop?.();
  }

  /** The server's wish for the next wait: [min, max] in milliseconds. */
  after(window) {
    this.#after = window;
  }

  #open(isFresh) {
    this.#end();
    if (isFresh) this.#tries = this.way = 0;
    const name = this.ways[this.way];
    this.#say("connecting", name);
    if (this.state === "closed") return;
    let began = 0;
    const stop = (this.#stop = () => run.close());
    const run = this[name]({
      // It answers.
      opened: () => {
        if (this.#stop !== stop || began) return;
        began = Date.now();
        this.hasOpened ||= name === "websocket";
        if (this.way) this.#timer = setTimeout(() => { this.way = 0; this.restart(); }, PROBE);
        this.#say("open", name);
      },
      lost: (told) => this.#lost(stop, began, told),
      isCurrent: () => this.#stop === stop,
    });
  }

  #lost(stop, began, told) {
    if (this.#stop !== stop) return;
    this.#end();
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
    this.#timer = setTimeout(() => this.#open(), wait);
    this.#say("waiting", null, { wait, ...told });
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
      run.doubt = (wait) => (held.timer ||= setTimeout(lost, wait));
      run.doubt(OPEN_WAIT);
      socket.onopen = () => isCurrent() && ready(socket, () => { held.timer = clearTimeout(held.timer); opened(); });
      socket.onmessage = (event) => {
        held.timer = clearTimeout(held.timer);
        if (isCurrent()) heard(event.data);
      };
      socket.onclose = (event) => lost({ code: event.code, reason: event.reason });
    } catch (error) {
      lost({ error });
    }
  }

  /** The URL with a ticket if it takes one. */
  async address(url) {
    const full = new URL(typeof url === "function" ? url() : url, location.href);
    const { ticket } = this.options;
    if (ticket) full.searchParams.set("ticket", await ticket());
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
  #run = null;
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
    stream.state = "left";
    this.#changed({ leave: stream.name });
    this.#push();
  }

  send(stream, data) {
    return new Promise((resolve, reject) => {
      const refuse = (error) => reject(Object.assign(new Error(error), { error, stream: stream.name }));
      if (this.state === "closed") return refuse("closed");
      const { state } = stream;
      if (state === "refused" || state === "left") return refuse("denied");
      if (this.#sends.size >= (this.options.queue ?? QUEUE)) return refuse("queue_full");
      const key = `${this.#client}-${++this.#last}`;
      let text = null;
      try {
        text = JSON.stringify({ send: stream.name, key, data });
      } catch {
        return refuse("bad"); // A circle, a BigInt.
      }
      if (new TextEncoder().encode(text).length > FRAME) return refuse("too_large");
      this.#sends.set(key, { stream, text, resolve, refuse });
      this.#push();
    });
  }

  ended() {
    clearTimeout(this.#retry);
    for (const send of this.#sends.values()) send.refuse("closed");
    this.#sends.clear();
  }

  /** What is joined has changed: a socket is told, a request is made anew. */
  #changed(frame) {
    if (this.#write) this.#write(JSON.stringify(frame));
    else if (this.transport && this.transport !== "websocket") this.restart();
  }

  /** Says what has not been said on this connection; on a socket, only to what it has joined. */
  #push() {
    const write = this.#write;
    if (!write) return this.state === "open" && this.#post();
    for (const [key, send] of this.#sends) {
      const { state } = send.stream;
      if (send.by === write) continue;
      if (state === "left") this.#answer(key).refuse("denied");
      if (state !== "joined") continue;
      send.by = write;
      write(send.text);
      this.#run.doubt(SILENCE);
    }
  }

  /** Says again what could not be done at the moment. */
  #again(send) {
    if (send) send.by = null;
    this.#retry ||= setTimeout(() => {
      this.#retry = 0;
      this.#push();
    }, 1000 + Math.random() * 1000);
  }

  /** Joins again later, each time after a longer wait. */
  #rejoin(stream) {
    stream.state = "failed";
    setTimeout(() => {
      if (stream.state !== "failed") return;
      stream.state = "joining";
      this.#changed(join(stream));
    }, Math.min(BACKOFF_MAX, 1000 * 2 ** stream.tries++) * (0.5 + Math.random()));
  }

  /** It is no more: neither are its sends that have not been answered. */
  #refuse(stream, error) {
    stream.state = "refused";
    for (const [key, send] of this.#sends) if (send.stream === stream) this.#answer(key).refuse(error);
  }

  /** Whether the socket still leads anywhere: the server answers, or it counts as lost. */
  doubt() {
    if (!this.#write) return;
    this.#write('{"ping":1}');
    this.#run.doubt(OPEN_WAIT);
  }

  #hear(frame) {
    const { at } = frame;
    if ("drain" in frame) return this.after(frame.drain.after);
    if ("sent" in frame) return this.#answer(frame.sent)?.resolve({ at });
    if ("left" in frame) {
      const gone = this.#streams.get(frame.left);
      if (gone?.state !== "joined") return; // What this side has left.
      this.#refuse(gone, "denied");
      return call(gone.handlers.left);
    }
    const stream = this.#streams.get(frame.stream ?? frame.joined);
    if ("error" in frame) {
      const isFinal = FINAL.includes(frame.error);
      if (frame.key) isFinal ? this.#answer(frame.key)?.refuse(frame.error) : this.#again(this.#sends.get(frame.key));
      else if (stream && !isFinal) this.#rejoin(stream);
      else if (stream) {
        this.#refuse(stream, frame.error);
        call(stream.handlers.error, frame);
      }
      return;
    }
    if (!stream || (at && "stream" in frame && !isLater(at, stream.at))) return;
    // Of the same name, left before: on a socket, what is joined begins with `joined`.
    if (this.#write && "stream" in frame && stream.state !== "joined") return;
    if (at) stream.at = at;
    if ("joined" in frame) {
      stream.state = "joined";
      stream.tries = 0;
      this.#push();
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

  /** Streams that are not refused, nor to be tried again later. */
  #wanted() {
    return [...this.#streams.values()].filter(({ state }) => state !== "refused" && state !== "failed");
  }

  websocket(events) {
    const run = (this.#run = {});
    const ready = (socket, settled) => {
      const write = (this.#write = (text) => socket.send(text));
      write(JSON.stringify({ hello: this.#client }));
      const wanted = this.#wanted();
      for (const stream of wanted) {
        stream.state = "joining";
        write(JSON.stringify(join(stream)));
      }
      // Some boxes in between open a socket and let nothing through.
      run.settled = settled;
      if (!wanted.length) settled();
      this.#push();
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
      const frames = await response.json();
      for (const frame of frames) this.#hear(frame);
      return frames.some((frame) => "drain" in frame);
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
        for (const { name } of wanted.splice(STREAMS)) this.#hear({ error: "too_many", stream: name });
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
        // Not the server's frames, but some box's words.
        if (!response.headers.get("content-type")?.startsWith(accept)) {
          throw Object.assign(new Error(`${response.status}`), { status: response.status });
        }
        const isEnd = await take(response, () => {
          if (!isCurrent()) throw new Error("over");
          alive(SILENCE);
          if (!response.ok) return;
          opened();
          this.#post();
        });
        if (!isCurrent()) return;
        // Refused as a whole: what is not refused for good is joined again after a while.
        if (isEnd || !response.ok) return this.#wanted().length ? lost() : opened();
        // Who recovers is not told so.
        for (const stream of wanted) if (stream.at && stream.state === "joining") stream.state = "joined";
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
    const held = new Set(); // What follows a refused send keeps behind it.
    try {
      for (const [key, { stream, text }] of this.#sends) {
        if (stream.state === "failed" || held.has(stream)) continue;
        const { credentials = "same-origin" } = this.options;
        const response = await fetch(await this.address(this.#url), {
          method: "POST",
          headers: { "content-type": "application/json" },
          credentials,
          body: `${text.slice(0, -1)},"client":"${this.#client}"}`,
          signal: AbortSignal.timeout(SILENCE),
        });
        // Not this stream, but the page is refused.
        const isText = response.headers.get("content-type")?.startsWith("text/plain");
        if (isText && response.status < 500) this.#answer(key)?.refuse("denied");
        else this.#hear({ key, ...(await response.json()) });
        if (this.#sends.has(key)) held.add(stream);
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
  tries = 0;
  people = new Map();

  constructor(live, name, handlers) {
    Object.assign(this, { live, name, handlers });
  }

  send(data) {
    return this.live.send(this, data);
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
      if (events.isCurrent()) call(this.options.open, this);
      if (events.isCurrent()) for (const data of this.#queue.splice(0)) socket.send(data);
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
