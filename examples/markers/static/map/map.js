// The map.
//
// Flow: hulse.js tells who is here and which marker is where → draw() shows the markers of those
// who are both. What a hand or a key moves is shown at once and said to the others, one place at a
// time: while one is on its way only the latest waits.
//
// Every text from outside is put in with textContent.

import { connect } from "../hulse/hulse.js";

const SVG = "http://www.w3.org/2000/svg";
const SIZE = 1000;
// Parts of the map a key moves, and with Shift.
const STEP = 0.01;
const LONG_STEP = 0.05;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
// The shortest time between two places that are said, milliseconds.
const PAUSE = 40;
// The server forgets places that are not said again.
const AGAIN = 60_000;

const find = (id) => document.getElementById(id);
const page = find("page");
const map = find("map");
const { me } = page.dataset;

const people = new Map(); // key → name
const places = new Map(); // key → { x, y }
const markers = new Map(); // key → element

// -- the stream --------------------------------------------------------------------------------

const live = connect(page.dataset.stream, { status: show });
const stream = live.join("map", {
  joined({ snapshot }) {
    snapshot?.forEach(put);
    if (!places.has(me)) places.set(me, somewhere());
    say();
  },
  presence(all) {
    people.clear();
    all.forEach(({ key, data }) => people.set(key, data.name));
    // Who comes back after a while hears of its own leaving; where it is, this page knows best.
    for (const key of places.keys()) if (key !== me && !people.has(key)) places.delete(key);
    list();
    draw();
  },
  data(place) {
    // This page's own hand is ahead of what comes back from the server.
    if (place.key !== me || !isMoving()) put(place);
    draw();
  },
});

function show(now, { wait = 0 } = {}) {
  const state = find("state");
  const words = {
    open: "Connected",
    connecting: "Connecting …",
    waiting: wait < 2000 ? "Connection lost, reconnecting …" : `Offline, trying again in ${Math.round(wait / 1000)} s`,
  };
  state.dataset.state = now;
  state.textContent = words[now] ?? now;
}

function put({ key, x, y }) {
  places.set(key, { x, y });
}

// In the middle of the island.
function somewhere() {
  return { x: 0.3 + Math.random() * 0.4, y: 0.3 + Math.random() * 0.4 };
}

// -- saying where one is -----------------------------------------------------------------------

let waits = false;
let isBusy = false;
let movedAt = 0;

const isMoving = () => waits || isBusy || Date.now() - movedAt < 500;

async function say() {
  waits = true;
  if (isBusy) return;
  isBusy = true;
  while (waits) {
    waits = false;
    await Promise.all([
      stream.send(places.get(me)).catch(() => {}),
      new Promise((done) => { setTimeout(done, PAUSE); }),
    ]);
  }
  isBusy = false;
}

setInterval(() => { if (places.has(me) && live.state === "open") say(); }, AGAIN);

// -- moving ------------------------------------------------------------------------------------

function moveTo(x, y) {
  const part = (value) => Math.min(1, Math.max(0, value));
  places.set(me, { x: part(x), y: part(y) });
  movedAt = Date.now();
  draw();
  say();
}

function follow(event) {
  const { left, top, width, height } = map.getBoundingClientRect();
  moveTo((event.clientX - left) / width, (event.clientY - top) / height);
}

map.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  map.setPointerCapture(event.pointerId);
  map.classList.add("held");
  follow(event);
});
map.addEventListener("pointermove", (event) => {
  if (map.hasPointerCapture(event.pointerId)) follow(event);
});
for (const end of ["pointerup", "pointercancel"]) {
  map.addEventListener(end, () => map.classList.remove("held"));
}

map.addEventListener("keydown", (event) => {
  const way = KEYS[event.key];
  if (!way || !places.has(me)) return;
  event.preventDefault();
  const step = event.shiftKey ? LONG_STEP : STEP;
  const { x, y } = places.get(me);
  moveTo(x + way[0] * step, y + way[1] * step);
});

// -- what is shown -----------------------------------------------------------------------------

function draw() {
  for (const [key, marker] of markers) {
    if (people.has(key) && places.has(key)) continue;
    marker.remove();
    markers.delete(key);
  }
  for (const [key, name] of people) {
    const place = places.get(key);
    if (!place) continue;
    const marker = markers.get(key) ?? pin(key, name);
    marker.style.transform = `translate(${place.x * SIZE}px, ${place.y * SIZE}px)`;
    marker.dataset.x = place.x;
    marker.dataset.y = place.y;
  }
}

function pin(key, name) {
  const marker = document.createElementNS(SVG, "g");
  const shape = document.createElementNS(SVG, "use");
  const label = document.createElementNS(SVG, "text");
  marker.setAttribute("class", key === me ? "marker mine" : "marker");
  marker.dataset.key = key;
  marker.style.setProperty("--hue", hueOf(key));
  shape.setAttribute("href", "#pin");
  for (const [name, value] of Object.entries({ x: -30, y: -76, width: 60, height: 78 })) shape.setAttribute(name, value);
  label.setAttribute("y", 30);
  label.textContent = key === me ? "You" : name;
  marker.append(shape, label);
  // One's own is in front.
  if (key === me) find("markers").append(marker);
  else find("markers").prepend(marker);
  markers.set(key, marker);
  return marker;
}

function list() {
  const keys = [...people.keys()].sort((a, b) => (b === me) - (a === me) || people.get(a).localeCompare(people.get(b)));
  const items = keys.map((key) => {
    const item = document.createElement("li");
    item.style.setProperty("--hue", hueOf(key));
    item.textContent = people.get(key);
    if (key === me) {
      const you = document.createElement("span");
      you.textContent = "you";
      item.append(" ", you);
    }
    return item;
  });
  find("people").replaceChildren(...items);
  find("count").textContent = people.size;
}

// The same marker has the same colour in every window: FNV-1a over its key.
function hueOf(text) {
  let hash = 0x811c9dc5;
  for (const c of text) hash = Math.imul(hash ^ c.codePointAt(0), 0x01000193);
  return String((hash >>> 0) % 360);
}
