// The page of a blog.
//
// Flow: the page comes with its posts and with the place (`at`) it was made at → hulse.js goes on
// from there → take() puts a post in, changes it, or takes it away. After a loss what was missed
// comes first; if that is too much, the posts as they are now (`snapshot`).
//
// The html of a post is made by the server, which escapes what somebody typed; nothing else here
// becomes markup.

import { connect } from "../hulse/hulse.js";

const find = (id) => document.getElementById(id);
const page = find("blog");
const posts = find("posts");
const composer = find("composer");
const editor = find("editor");
const isStaff = "staff" in page.dataset;

// Posts that were deleted: a change that comes late does not bring them back.
const gone = new Set();

posts.querySelectorAll(".post").forEach(dress);

const live = connect(page.dataset.stream, { status: show });
live.join(page.dataset.name, {
  at: page.dataset.at,
  joined: ({ snapshot }) => snapshot && replace(snapshot),
  data: take,
});

function show(now, { wait = 0 } = {}) {
  const state = find("state");
  const words = {
    open: "Live",
    connecting: "Connecting …",
    waiting: wait < 2000 ? "Connection lost, reconnecting …" : `Offline, trying again in ${Math.round(wait / 1000)} s`,
  };
  state.dataset.state = now;
  state.textContent = words[now] ?? now;
}

// -- posts -------------------------------------------------------------------------------------

const postOf = (id) => posts.querySelector(`[data-post-id="${CSS.escape(id)}"]`);

function take({ id, html, updated, deleted }) {
  const old = postOf(id);
  if (deleted) {
    gone.add(id);
    old?.remove();
    return;
  }
  // Two processes may tell of two changes in either order.
  if (gone.has(id) || (old && Date.parse(old.dataset.updated) > Date.parse(updated))) return;
  const template = document.createElement("template");
  template.innerHTML = html;
  const post = template.content.firstElementChild;
  dress(post);
  if (old) {
    post.classList.add("changed");
    old.replaceWith(post);
  } else {
    post.classList.add("new");
    posts.insertBefore(post, [...posts.children].find((other) => isOlder(other, post)) ?? null);
  }
}

// Newest first; of one moment the larger id.
function isOlder(post, than) {
  const [a, b] = [post, than].map(({ dataset }) => Date.parse(dataset.created));
  return a < b || (a === b && Number(post.dataset.postId) < Number(than.dataset.postId));
}

// The posts as they are now.
function replace(all) {
  const ids = new Set(all.map(({ id }) => String(id)));
  for (const post of [...posts.children]) if (!ids.has(post.dataset.postId)) post.remove();
  all.forEach(take);
}

// What only this reader wants: times of their own day, and buttons for staff.
function dress(post) {
  const time = post.querySelector("time");
  const moment = new Date(time.dateTime);
  const isToday = moment.toDateString() === new Date().toDateString();
  const day = isToday ? {} : { day: "numeric", month: "short" };
  time.textContent = moment.toLocaleString([], { ...day, hour: "2-digit", minute: "2-digit" });
  time.title = moment.toLocaleString();
  if (!isStaff) return;
  const tools = document.createElement("p");
  tools.className = "tools";
  tools.append(button("Edit", () => edit(post)), button("Delete", (event) => remove(post, event.target)));
  post.append(tools);
}

function button(words, click) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = words;
  button.onclick = click;
  return button;
}

// -- staff -------------------------------------------------------------------------------------

// The post itself comes over the stream, as to everybody.
async function send(url, fields) {
  const { value } = composer.elements.csrfmiddlewaretoken;
  const body = new URLSearchParams({ csrfmiddlewaretoken: value, ...fields });
  const answer = await fetch(url, { method: "POST", body }).catch(() => null);
  const isDone = answer?.ok && new URL(answer.url).pathname === location.pathname;
  find("notice").textContent = isDone ? "" : "That did not work. Try again, or reload the page.";
  return isDone;
}

const urlOf = (post) => new URL(`posts/${post.dataset.postId}/`, location.href);

function edit(post) {
  const field = editor.querySelector("textarea");
  field.value = post.querySelector(".body").textContent;
  editor.returnValue = "";
  editor.onclose = () => {
    if (editor.returnValue === "save") send(urlOf(post), { body: field.value });
  };
  editor.showModal();
}

// The first click asks, the second one does it.
function remove(post, button) {
  if (button.classList.contains("sure")) return send(urlOf(post), { delete: "1" });
  button.classList.add("sure");
  button.textContent = "Really delete?";
  button.onblur = () => {
    button.classList.remove("sure");
    button.textContent = "Delete";
  };
}

composer?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = composer.elements.body;
  const body = field.value;
  // The next one may be begun while this one is on its way.
  field.value = "";
  field.focus();
  if (!await send(location.pathname, { body })) field.value ||= body;
});

composer?.elements.body.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) composer.requestSubmit();
});
