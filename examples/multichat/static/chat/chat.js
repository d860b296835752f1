// The page with the rooms.
//
// Flow: one socket for all rooms, kept open by hulse.js → every frame is one event → take() changes
// what is shown. After a loss the rooms that are open are joined again.
//
// Every text from outside is put in with textContent: nothing anybody types becomes markup.

import { socket } from "../hulse/hulse.js";

const MESSAGES_SHOWN_MAX = 500;
// The rooms that are open, kept for a reload of this tab.
const KEPT = "multichat.rooms";

// msg_type, as the server counts.
const KINDS = ["message", "warning", "alert", "muted", "enter", "leave"];

const WORDS = {
  USER_HAS_TO_LOGIN: "You are signed out. Reload the page to sign in again.",
  ROOM_INVALID: "There is no such room any more.",
  ROOM_ACCESS_DENIED: "You may not enter this room.",
  COMMAND_INVALID: "The server did not understand this page. Reload it.",
  MESSAGE_TOO_LONG: "This message is too long.",
};

const find = (id) => document.getElementById(id);
const page = find("chat");
const { username } = page.dataset;
const state = find("state");

// Rooms this page wants to be in, and the panels of those it is in, by id.
const wanted = new Set(JSON.parse(sessionStorage.getItem(KEPT) ?? "[]"));
const panels = new Map();
// Rooms asked for again after a loss; they are answered in this order, before anything else.
let rejoining = [];

// -- the connection ---------------------------------------------------------------------------

const chat = socket(page.dataset.socket, {
  open: (chat) => {
    rejoining = [...wanted];
    rejoining.forEach((room) => chat.send(command("join", room)));
  },
  message: (text) => take(JSON.parse(text)),
  status: show,
  // What is typed while there is no connection stays in its field.
  queue: 0,
});

function command(command, room, message) {
  return JSON.stringify({ command, room, message });
}

function show(now, { wait = 0 } = {}) {
  state.dataset.state = now;
  document.querySelectorAll(".panel form button").forEach((button) => { button.disabled = now !== "open"; });
  if (now === "open") state.textContent = "Connected";
  else if (now === "connecting") state.textContent = panels.size ? "Reconnecting …" : "Connecting …";
  else if (wait < 2000) state.textContent = "Connection lost, reconnecting …";
  else {
    state.textContent = `Connection lost, trying again in ${Math.round(wait / 1000)} s `;
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = "Now";
    again.onclick = () => chat.restart();
    state.append(again);
  }
}

// -- what comes from the server ----------------------------------------------------------------

function take(event) {
  if ("join" in event) {
    if (rejoining[0] === event.join) rejoining.shift();
    enter(event.join, event.title);
  } else if ("leave" in event) {
    leave(event.leave);
  } else if ("msg_type" in event) {
    panels.get(event.room)?.add(event);
  } else if ("error" in event) {
    notice(WORDS[event.error] ?? event.error);
    if (rejoining.length) leave(rejoining.shift());
  }
}

function enter(room, title) {
  const panel = panels.get(room);
  if (panel) panel.cameBack();
  else panels.set(room, new Panel(room, title));
  keep(room, true);
}

function leave(room) {
  panels.get(room)?.close();
  panels.delete(room);
  keep(room, false);
}

// -- the list of rooms -------------------------------------------------------------------------

function keep(room, isIn) {
  if (isIn) wanted.add(room);
  else wanted.delete(room);
  sessionStorage.setItem(KEPT, JSON.stringify([...wanted]));
  const button = buttonOf(room);
  if (button) button.ariaPressed = String(isIn);
}

function buttonOf(room) {
  return find("rooms").querySelector(`[data-room="${CSS.escape(room)}"]`);
}

find("rooms").addEventListener("click", ({ target }) => {
  const { room } = target.closest("button")?.dataset ?? {};
  if (!room) return;
  notice("");
  if (panels.has(room)) panels.get(room).show();
  else if (!chat.send(command("join", room))) notice("There is no connection at the moment.");
});

function notice(words) {
  find("notice").textContent = words;
}

// -- a room ------------------------------------------------------------------------------------

class Panel {
  constructor(room, title) {
    this.room = room;
    this.element = find("panel").content.firstElementChild.cloneNode(true);
    const [name, log, form] = ["h3", "ol", "form"].map((tag) => this.element.querySelector(tag));
    Object.assign(this, { log, form, field: form.elements.message });
    name.textContent = title;
    this.element.dataset.room = room;
    this.element.ariaLabel = title;
    log.ariaLabel = `Messages in ${title}`;
    this.field.maxLength = page.dataset.messageCharsMax;
    this.field.placeholder = `Say something in ${title}`;
    this.field.ariaLabel = this.field.placeholder;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.say();
    });
    this.element.querySelector(".leave").addEventListener("click", () => this.leave());
    find("open").append(this.element);
    this.note("You are in the room.");
    this.show();
  }

  // Without a connection there is nobody to be told; the page just does not come back.
  leave() {
    if (!chat.send(command("leave", this.room))) leave(this.room);
  }

  close() {
    this.element.remove();
    if (this.isCurrent()) [...panels.values()].findLast((panel) => panel !== this)?.show();
  }

  // A phone shows one room at a time, the current one.
  isCurrent() {
    return this.element.classList.contains("current");
  }

  show() {
    document.querySelectorAll(".current").forEach((element) => element.classList.remove("current"));
    this.element.classList.add("current");
    const button = buttonOf(this.room);
    button?.classList.add("current");
    button?.removeAttribute("data-unread");
    this.element.scrollIntoView({ block: "nearest" });
    this.log.scrollTop = this.log.scrollHeight;
    this.field.focus({ preventScroll: true });
  }

  say() {
    const text = this.field.value.trim();
    if (text && chat.send(command("send", this.room, text))) this.field.value = "";
  }

  cameBack() {
    this.note("You are back. What was said meanwhile is not shown.");
  }

  add({ username: who, message, msg_type: number }) {
    const kind = KINDS[number] ?? "message";
    if (kind === "enter" || kind === "leave") {
      return this.note(kind === "enter" ? " entered" : " left", who);
    }
    const item = document.createElement("li");
    item.className = `said ${kind}`;
    if (who === username) item.classList.add("mine");
    const head = document.createElement("p");
    head.className = "head";
    head.append(nameOf(who), timeNow());
    if (!this.isCurrent()) buttonOf(this.room)?.setAttribute("data-unread", "");
    const text = document.createElement("p");
    text.className = "text";
    text.textContent = message;
    item.append(head, text);
    this.put(item);
  }

  note(words, who) {
    const item = document.createElement("li");
    item.className = "note";
    if (who !== undefined) item.append(nameOf(who));
    item.append(words);
    this.put(item);
  }

  // Newest last; a reader who has scrolled up stays where they are.
  put(item) {
    const { log } = this;
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(item);
    while (log.childElementCount > MESSAGES_SHOWN_MAX) log.firstElementChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }
}

function nameOf(who) {
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = who;
  name.style.setProperty("--hue", hueOf(who));
  return name;
}

function timeNow() {
  const now = new Date();
  const time = document.createElement("time");
  time.dateTime = now.toISOString();
  time.textContent = now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return time;
}

// The same name has the same colour in every window: FNV-1a over its characters.
function hueOf(text) {
  let hash = 0x811c9dc5;
  for (const c of text) hash = Math.imul(hash ^ c.codePointAt(0), 0x01000193);
  return String((hash >>> 0) % 360);
}
