// Everything that hulse.d.ts promises, used: `tsc` says whether the types hold what they say.

import { connect, socket } from "../../static/hulse/hulse.js";
import type { Hulse, Joined, Person, Position, State, Status, Stream, StreamError, Transport } from "../../static/hulse/hulse.js";

interface Said { text: string; by: number }
interface Profile { colour: string }

const live: Hulse = connect(new URL("https://example.org/stream/"), {
  status(state: State, { transport, wait = 0, code, reason, error }: Status) {
    const way: Transport | null = transport;
    console.log(state, way, wait + 1, code, reason, error?.status, error?.message);
  },
  ticket: async () => (await fetch("/ticket/")).text(),
  transports: ["events", "poll"],
  queue: 10,
  credentials: "include",
});
const chat: Stream<Said, Profile> = live.join<Said, Profile>("chat/4", {
  data: (data, at: Position) => console.log(data.text.length, data.by + 1, at),
  joined: (info: Joined<Profile>) => console.log(info.joined, info.recovered, info.snapshot, info.present?.[0]?.data.colour),
  presence: (people: Person<Profile>[], change) => console.log(people[0]?.key, change?.joined?.data.colour, change?.left),
  left() {},
  error: (error: StreamError) => console.log(error.error, error.stream, error.reason),
  at: "1-2",
});
live.join("news", (data, at) => console.log(data, at));
chat.send({ text: "Hello", list: [1, null, { deep: true }] }).then(({ at }) => console.log(at));
console.log(chat.name, chat.state === "joined", chat.at, chat.present.length, live.state, live.transport);
chat.leave();
live.restart();
live.close();

const plain = socket(() => "/echo/", {
  message: (data) => console.log(typeof data === "string" ? data : data.byteLength),
  open: (own) => own.send(new ArrayBuffer(1)),
  close: ({ code, reason }) => console.log(code, reason),
  status: (state) => console.log(state),
  protocols: ["a", "b"],
  ticket: () => "ticket",
  queue: 1,
});
const isSent: boolean = plain.send("text");
console.log(isSent, plain.state);
plain.restart();
plain.close();

// What must not pass.
// @ts-expect-error: no such option
connect("/stream/", { transport: ["events"] });
// @ts-expect-error: no such transport
connect("/stream/", { transports: ["carrier pigeon"] });
// @ts-expect-error: a place is a text
live.join("chat/4", { at: 5 });
// @ts-expect-error: a function is no JSON
chat.send(() => 1);
// @ts-expect-error: read only
chat.at = "1-2";
// @ts-expect-error: a stream has no such state
chat.state === "open";
