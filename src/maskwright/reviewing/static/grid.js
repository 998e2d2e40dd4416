// The queue as a grid of thumbnails; only those in sight are elements, so that 10,000 samples scroll smoothly.

import { isDone, on, openFindings, state, tell } from "/static/state.js";
import { make } from "/static/toast.js";

const WIDE = 196, HIGH = 216; // about, and exactly
const grid = document.getElementById("grid");
const tiles = document.getElementById("tiles");
const shown = new Map(); // place in the list: element

const room = () => grid.clientWidth - 16;
const columns = () => Math.max(1, Math.round(room() / WIDE));

export function drawGrid() {
  if (!grid.clientWidth) return; // not in sight
  const across = columns(), rows = Math.ceil(state.listed.length / across);
  const wide = Math.floor(room() / across);
  tiles.style.height = `${rows * HIGH}px`;
  const first = Math.max(0, Math.floor(grid.scrollTop / HIGH) - 1) * across;
  const end = Math.min(state.listed.length, (Math.ceil((grid.scrollTop + grid.clientHeight) / HIGH) + 1) * across);
  for (const [place, tile] of shown) {
    if (place < first || place >= end || tile.row !== state.listed[place]) {
      tile.remove();
      shown.delete(place);
    }
  }
  for (let place = first; place < end; place++) {
    const row = state.listed[place];
    let tile = shown.get(place);
    if (!tile) {
      tile = newTile(row);
      shown.set(place, tile);
      tiles.append(tile);
    }
    tile.style.transform = `translate(${(place % across) * wide}px, ${Math.floor(place / across) * HIGH}px)`;
    tile.style.width = `${wide - 8}px`;
    fill(tile, row, place);
  }
  grid.setAttribute("aria-activedescendant", state.listed.length ? `tile-${state.place}` : "");
}

function newTile(row) {
  const tile = make("div", { className: "tile", role: "option" });
  tile.row = row;
  tile.picture = make("img", { alt: "", decoding: "async", draggable: false });
  tile.title = row.name;
  tile.caption = make("span", { className: "caption", text: row.name });
  tile.badges = make("span", { className: "badges" });
  tile.picture.addEventListener("error", () => tile.classList.add("broken"));
  tile.append(tile.picture, tile.caption, tile.badges);
  tile.addEventListener("click", () => {
    state.place = tile.place;
    tell("open");
  });
  return tile;
}

function fill(tile, row, place) {
  const mark = `${row.revision} ${row.status} ${state.version}`;
  tile.place = place;
  tile.id = `tile-${place}`;
  tile.setAttribute("aria-selected", String(place === state.place));
  tile.setAttribute("aria-setsize", state.listed.length);
  tile.setAttribute("aria-posinset", place + 1);
  if (tile.mark === mark) return;
  tile.mark = mark;
  const source = `/api/samples/${row.id}/thumbnail/label?v=${state.session}${row.revision}`;
  if (tile.source !== source) tile.picture.src = tile.source = source;
  tile.className = `tile ${row.status}`;
  const [worst] = openFindings(row), done = isDone(row);
  tile.badges.replaceChildren(
    ...(done ? [make("b", { className: "done", text: "done" })] : []),
    ...(row.status === "keep" ? [] : [make("b", { className: row.status, text: row.status === "suspect" ? "needs fixing" : "excluded" })]),
    ...(worst ? [make("b", { className: worst.severity, text: codeText(worst.code) })] : []),
    ...(row.split ? [make("b", { text: row.split })] : []),
  );
}

export const codeText = (code) => code.replace(/^label\./, "").replace(".", ": ").replaceAll("_", " ");

export function showPlace() {
  const across = columns(), top = Math.floor(state.place / across) * HIGH;
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + HIGH > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + HIGH - grid.clientHeight;
  drawGrid();
}

export function moveInGrid(key) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns(), Home: -Infinity, End: Infinity };
  if (!(key in steps) || !state.listed.length) return false;
  state.place = Math.max(0, Math.min(state.listed.length - 1, state.place + steps[key]));
  showPlace();
  return true;
}

grid.addEventListener("scroll", () => requestAnimationFrame(drawGrid), { passive: true });
new ResizeObserver(drawGrid).observe(grid);
for (const what of ["list", "rows"]) on(what, drawGrid);
