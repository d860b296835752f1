// The chat page.
//
// Flow: hulse.js keeps the socket open → every frame is one event → take() changes what is shown.
// After a loss the page names the last message it has (`?after=`), and what was said meanwhile comes
// first. What it sent itself is known to have arrived when it comes back; what did not is sent again.
//
// Every text from outside is put in with textContent: nothing anybody types becomes markup.

import { socket } from "../hulse/hulse.js";

const MESSAGES_SHOWN_MAX = 500;
// Ids remembered: far more than a welcome repeats.
const IDS_KNOWN_MAX = 2000;

// Close codes of a server that will be back, from the registry of RFC 6455.
const PLANNED = [1001, 1012];

const find = (id) => document.getElementById(id);
const page = find("chat");
const field = find("message");
const publish = find("publish");
const messages = find("messages");
const messageBytesMax = Number(page.dataset.messageBytesMax);

let chat = null;
let me = null;
// The id of the last message the page has.
let last = null;
// Frames of the welcome still to come: who is here already, and what was said before.
let welcome = { present: 0, history: 0 };
let isCaughtUp = false;
// What was sent and has not come back.
let unheard = [];
let unread = 0;
const users = new Map();
const known = new Set();

// -- the connection ---------------------------------------------------------------------------

function connect() {
  const url = () => page.dataset.socket + (last ? `?after=${encodeURIComponent(last)}` : "");
  chat = socket(url, {
    // The first frame of each connection says who we are; what was sent on the last one may be lost.
    open: () => {
      me = null;
      unheard.forEach((said) => { said.isLost = true; });
    },
    message: (text) => take(JSON.parse(text)),
    status: show,
    // What is typed while there is no connection stays in its field.
    queue: 0,
  });
}

function show(now, { wait = 0, code } = {}) {
  const state = find("state");
  publish.disabled = now !== "open";
  state.dataset.state = now === "waiting" && wait >= 2000 ? "closed" : now === "waiting" ? "connecting" : now;
  if (now === "open") state.textContent = "Connected";
  if (now === "connecting") state.textContent = last === null ? "Connecting …" : "Reconnecting …";
  if (now !== "waiting") return;
  const why = !navigator.onLine ? "You are offline" : PLANNED.includes(code) ? "The server restarts" : "Connection lost";
  if (wait < 2000) {
    state.textContent = `${why}, reconnecting …`;
    return;
  }
  state.textContent = `${why}, trying again in ${Math.round(wait / 1000)} s`;
  const again = document.createElement("button");
  again.type = "button";
  again.textContent = "Now";
  again.onclick = () => chat.restart();
  state.append(again);
}

// A page that is left may stay frozen in the browser's back/forward cache; it leaves the room all
// the same, and enters again when it is shown again.
addEventListener("pagehide", () => chat.close());
addEventListener("pageshow", (event) => { if (event.persisted) connect(); });

// -- what comes from the server ----------------------------------------------------------------

function take(event) {
  if (me === null) {
    // The first frame of a connection is about ourselves; the people present follow.
    me = event.user;
    welcome = { present: event.present ?? 0, history: event.history ?? 0 };
    isCaughtUp = false;
    users.clear();
    if (event.recovered === false) gap();
  }
  if (event.channel === "chatuser") takeUser(event);
  else if (event.channel === "webchat") takeMessage(event);
  else if (event.channel === "error") {
    unheard.shift();
    notice(event.message);
  }
  if (!isCaughtUp && welcome.present === 0 && welcome.history === 0) {
    isCaughtUp = true;
    sayAgain();
  }
}

// More was said meanwhile than the server keeps.
function gap() {
  const item = document.createElement("li");
  item.className = "event";
  item.textContent = "Some messages are missing here";
  insert(item, true);
}

function takeUser(event) {
  if (event.message === "joined") {
    const isNew = !users.has(event.user) && event.user !== me;
    users.set(event.user, event.authenticated);
    const isWelcome = event.user !== me && welcome.present > 0;
    if (isWelcome) welcome.present -= 1;
    else if (isNew) line(event, "joined the chat");
  } else if (event.message === "gone") {
    if (users.delete(event.user)) line(event, "left the chat");
  }
  listUsers();
}

function takeMessage(event) {
  const isOld = welcome.history > 0;
  if (isOld) welcome.history -= 1;
  if (event.id !== undefined) {
    if (known.has(event.id)) return;
    known.add(event.id);
    last = event.id;
    if (known.size > IDS_KNOWN_MAX) known.delete(known.values().next().value);
  }
  if (event.user === me) heard(event.message);
  const item = document.createElement("li");
  item.className = event.user === me ? "said mine" : "said";
  const body = document.createElement("div");
  const head = document.createElement("p");
  head.className = "head";
  head.append(nameOf(event), timeOf(event));
  const text = document.createElement("p");
  text.className = "text";
  text.textContent = event.message;
  body.append(head, text);
  item.append(avatarOf(event), body);
  insert(item, isOld);
  if (document.hidden && !isOld) {
    unread += 1;
    document.title = `(${unread}) djchat`;
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unread = 0;
  document.title = "djchat";
});

// -- what is shown -----------------------------------------------------------------------------

function line(event, words) {
  const item = document.createElement("li");
  item.className = "event";
  item.append(nameOf(event), ` ${words}`);
  insert(item, false);
}

// Newest first.
function insert(item, isOld) {
  if (!isOld) item.classList.add("new");
  messages.prepend(item);
  while (messages.childElementCount > MESSAGES_SHOWN_MAX) messages.lastElementChild.remove();
}

function listUsers() {
  const names = [...users.keys()].sort((a, b) =>
    (b === me) - (a === me) || a.localeCompare(b));
  const items = names.map((user) => {
    const person = { user, authenticated: users.get(user) };
    const item = document.createElement("li");
    item.append(avatarOf(person), nameOf(person));
    if (user === me) {
      const you = document.createElement("span");
      you.className = "you";
      you.textContent = "you";
      item.append(you);
    }
    return item;
  });
  find("users").replaceChildren(...items);
  find("count").textContent = users.size;
}

function nameOf({ user, authenticated }) {
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = authenticated ? `@${user}` : user;
  name.style.setProperty("--hue", hueOf(user));
  return name;
}

function avatarOf({ user }) {
  const avatar = document.createElement("span");
  avatar.className = "avatar";
  avatar.ariaHidden = "true";
  avatar.textContent = [...user.replace(/^an_/, "")].slice(0, 2).join("");
  avatar.style.setProperty("--hue", hueOf(user));
  return avatar;
}

function timeOf(event) {
  const moment = new Date(event.time ?? Date.now());
  const time = document.createElement("time");
  time.dateTime = moment.toISOString();
  time.title = moment.toLocaleString();
  time.textContent = moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return time;
}

// The same name has the same colour in every window: FNV-1a over its characters.
function hueOf(user) {
  let hash = 0x811c9dc5;
  for (const c of user) hash = Math.imul(hash ^ c.codePointAt(0), 0x01000193);
  return String((hash >>> 0) % 360);
}

// -- what is typed -----------------------------------------------------------------------------

function send() {
  const text = field.value;
  if (text.trim() === "") return;
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > messageBytesMax) {
    notice(`This is ${bytes} bytes long; a message may have ${messageBytesMax}.`);
    return;
  }
  if (!chat.send(text)) return;
  unheard.push({ text, line: lineOf(text), isLost: false, isAgain: false });
  field.value = "";
  notice("");
  field.focus();
}

// The text as the room gives it back: its lines stripped, the blank ones dropped, the rest joined.
function lineOf(text) {
  const lines = text.split(/[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/).map((line) => line.trim());
  return lines.filter((line) => line !== "").join(" ");
}

function heard(message) {
  const at = unheard.findIndex(({ line }) => line === message);
  if (at >= 0) unheard.splice(at, 1);
}

// The welcome is over: what is not in it has not arrived. Once, whatever the room makes of it.
function sayAgain() {
  unheard = unheard.filter(({ isLost, isAgain }) => !isLost || !isAgain);
  for (const said of unheard.filter(({ isLost }) => isLost)) {
    Object.assign(said, { isLost: false, isAgain: true });
    chat.send(said.text);
  }
}

function notice(words) {
  find("notice").textContent = words;
}

find("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
field.addEventListener("keydown", (event) => {
  // While an input method composes a character, Enter ends that and nothing else.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
field.addEventListener("input", () => notice(""));

connect();
