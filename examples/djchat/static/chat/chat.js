// The chat page.
//
// Flow: connect() opens the socket → every frame is one event → take() changes what is shown.
// When the socket closes, a moment later connect() again; the server then tells everything anew,
// and what was shown already is known by its id.
//
// Every text from outside is put in with textContent: nothing anybody types becomes markup.

const MESSAGES_SHOWN_MAX = 500;
// Ids remembered: far more than a welcome repeats.
const IDS_KNOWN_MAX = 2000;

// Waits before another attempt, milliseconds: a random part of a limit that doubles (full jitter),
// so that the visitors of a restarted server do not come back all at once.
const RETRY_MS_FIRST = 500;
const RETRY_MS_MAX = 30_000;
// The server said it is overloaded: nobody comes back sooner than this.
const BUSY_MS_MIN = 5_000;
// A connection this old was a good one: the next loss starts with the shortest wait again.
const STABLE_MS = 10_000;

// Close codes, from the registry of RFC 6455.
const GOING_AWAY = 1001;
const SERVICE_RESTART = 1012;
const TRY_AGAIN_LATER = 1013;

const find = (id) => document.getElementById(id);
const page = find("chat");
const field = find("message");
const publish = find("publish");
const messages = find("messages");
const messageBytesMax = Number(page.dataset.messageBytesMax);

let socket = null;
let me = null;
let attempts = 0;
let retry = null;
// Frames of the welcome still to come: who is here already, and what was said before.
let welcome = { present: 0, history: 0 };
let unread = 0;
const users = new Map();
const known = new Set();

// -- the connection ---------------------------------------------------------------------------

function connect() {
  clearTimeout(retry);
  show("connecting", attempts === 0 ? "Connecting …" : "Reconnecting …");
  const url = new URL(page.dataset.socket, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  let stable = null;
  me = null;
  socket = new WebSocket(url);
  socket.onopen = () => {
    show("open", "Connected");
    stable = setTimeout(() => { attempts = 0; }, STABLE_MS);
  };
  socket.onmessage = (event) => take(JSON.parse(event.data));
  socket.onclose = (event) => {
    clearTimeout(stable);
    socket = null;
    comeBack(event.code);
  };
}

function comeBack(code) {
  if (!navigator.onLine) {
    show("closed", "You are offline");
    return;
  }
  const limit = Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** attempts);
  let wait = Math.random() * limit;
  if (code === TRY_AGAIN_LATER) wait += BUSY_MS_MIN;
  attempts += 1;
  const planned = code === GOING_AWAY || code === SERVICE_RESTART;
  const why = planned ? "The server restarts" : "Connection lost";
  if (wait < 2_000) {
    show("connecting", `${why}, reconnecting …`);
  } else {
    show("closed", `${why}, trying again in ${Math.round(wait / 1000)} s`);
    const now = document.createElement("button");
    now.type = "button";
    now.textContent = "Now";
    now.onclick = connect;
    find("state").append(now);
  }
  retry = setTimeout(connect, wait);
}

function show(state, words) {
  find("state").dataset.state = state;
  find("state").textContent = words;
  publish.disabled = state !== "open";
}

addEventListener("online", () => { if (!socket) connect(); });
addEventListener("offline", () => { if (!socket) { clearTimeout(retry); comeBack(0); } });
// A page that is left may stay frozen in the browser's back/forward cache; it leaves the room all
// the same, and enters again when it is shown again.
addEventListener("pagehide", () => {
  clearTimeout(retry);
  if (!socket) return;
  socket.onclose = null;
  socket.close();
  socket = null;
});
addEventListener("pageshow", (event) => { if (event.persisted && !socket) connect(); });

// -- what comes from the server ----------------------------------------------------------------

function take(event) {
  if (me === null) {
    // The first frame of a connection is about ourselves; the people present follow.
    me = event.user;
    welcome = { present: event.present ?? 0, history: event.history ?? 0 };
    users.clear();
  }
  if (event.channel === "chatuser") takeUser(event);
  else if (event.channel === "webchat") takeMessage(event);
  else if (event.channel === "error") notice(event.message);
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
    if (known.size > IDS_KNOWN_MAX) known.delete(known.values().next().value);
  }
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
  if (text.trim() === "" || socket?.readyState !== WebSocket.OPEN) return;
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > messageBytesMax) {
    notice(`This is ${bytes} bytes long; a message may have ${messageBytesMax}.`);
    return;
  }
  socket.send(text);
  field.value = "";
  notice("");
  field.focus();
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
