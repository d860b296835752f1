// The graph: the latest numbers of the server, the newest at the right.

import { socket } from "../hulse/hulse.js";

// What is shown: twenty seconds of ten numbers.
const SHOWN = 200;
const WORDS = { open: "Live", connecting: "Connecting …", waiting: "No connection, trying again …" };

const find = (id) => document.getElementById(id);
const { numbers, top } = document.querySelector("main").dataset;
const values = [];

socket(numbers, {
  message(text) {
    values.push(JSON.parse(text).value);
    if (values.length > SHOWN) values.shift();
    requestAnimationFrame(draw);
  },
  status(state) {
    find("state").dataset.state = state;
    find("state").textContent = WORDS[state] ?? state;
  },
});

function draw() {
  const x = (place) => 1000 - ((values.length - 1 - place) * 1000) / (SHOWN - 1);
  const y = (value) => 400 - (value / top) * 400;
  const line = values.map((value, place) => `${x(place).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
  find("line").setAttribute("d", `M${line}`);
  find("area").setAttribute("d", `M${x(0)} 400L${line}L1000 400Z`);
  const show = (id, value) => { find(id).textContent = value.toFixed(1); };
  show("now", values.at(-1));
  show("least", Math.min(...values));
  show("most", Math.max(...values));
}
