// The page: puts state, grid, canvas, tools and keys together.

import { get } from "/static/api.js";
import { answer, editor, isSaving, isStale, onConflict, open, refresh, reopen, setStatus, step } from "/static/editor.js";
import { assist } from "/static/assist.js";
import { codeText, drawGrid, moveInGrid, showPlace } from "/static/grid.js";
import { listen, writeHelp } from "/static/keys.js";
import { showRuns } from "/static/runs.js";
import { applyFilters, current, isDone, jumpTo, on, openFindings, state, take, tell, totals } from "/static/state.js";
import { make, toast } from "/static/toast.js";
import { TOOLS, cancel, choose, connect, finish, isBegun, morph, resize, takeBack, takeModel, tool } from "/static/tools.js";
import { View } from "/static/view.js";

const $ = (id) => document.getElementById(id);
const VIEWS = { image: "Image", label: "Label", prediction: "Prediction", difference: "Difference" };
const view = new View($("canvas"));
let chosen = "label"; // the view
let viewed = null; // the row that the single view shows
let pointer = [-1, -1]; // where it was last, in the window

// ---- what is shown

function showSection(name) {
  if (name !== "single") cancel();
  for (const id of ["queue", "single", "runs"]) $(id).hidden = id !== name;
  $("tab-queue").setAttribute("aria-pressed", String(name !== "runs"));
  $("tab-runs").setAttribute("aria-pressed", String(name === "runs"));
  state.open = name === "single";
  if (name === "queue") {
    showPlace();
    $("grid").focus({ preventScroll: true });
    history.replaceState(null, "", "#");
  }
  if (name === "runs") showRuns();
}

function openSingle() {
  if (!current()) return;
  if (!state.open) showSection("single");
  cancel();
  history.replaceState(null, "", `#sample=${encodeURIComponent(current().name)}`);
  if (viewed !== current()) view.fitted = true;
  viewed = current();
  drawPanel();
  open();
}

function go(step) {
  const place = state.place + step;
  if (place < 0 || place >= state.listed.length) return toast(step > 0 ? "That was the last one" : "This is the first one");
  state.place = place;
  if (state.open) openSingle();
  else showPlace();
}

function shownMask() {
  if (editor.preview) return editor.preview;
  if (chosen === "prediction") return editor.proposal ?? editor.prediction ?? editor.mask;
  return editor.mask;
}

function drawSample() {
  if (!editor.mask || !state.open) return;
  view.kind = editor.preview ? "label" : chosen;
  view.other = editor.proposal ?? editor.prediction;
  view.show(editor.image, shownMask());
  drawNote();
}

function drawNote() {
  const notes = [];
  if (editor.why) notes.push(editor.why);
  else if (editor.row && !editor.ready) notes.push("Loading …");
  const other = editor.proposal ? "proposal" : "prediction";
  if (editor.preview) notes.push("Preview: Enter takes it, Escape drops it");
  else if (["prediction", "difference"].includes(chosen) && editor.ready) {
    if (!view.other) notes.push("No model has predicted this image yet; this is the label");
    else if (chosen === "prediction") notes.push(`This is the ${other}`);
    else notes.push(`Label and ${other} differ: orange where the label has an object, blue where it has none`);
  }
  if (assist.lacksClass()) notes.push("Now stroke another class, or the background (0)");
  if (view.hidden) notes.push("The mask is hidden (H)");
  $("confirm").hidden = !isBegun();
  $("note").textContent = notes.join(". ");
}

// The pixel below the pointer, which also changes when the image moves or grows below it.
function drawReadout() {
  const bounds = $("canvas").getBoundingClientRect(), mask = shownMask();
  const [x, y] = view.toImage(pointer[0] - bounds.left, pointer[1] - bounds.top).map(Math.floor);
  const inside = mask && x >= 0 && y >= 0 && x < mask.width && y < mask.height;
  const index = inside ? mask.pixels[y * mask.width + x] : null;
  $("readout").textContent = inside ? `${x}, ${y}: ${state.classes[index]?.name ?? "ignored"} · ${Math.round(view.scale * 100)} %` : "";
}

function setView(name) {
  chosen = name;
  for (const button of $("views").children) button.setAttribute("aria-pressed", String(button.dataset.view === name));
  drawSample();
}

// ---- the panel

function drawPanel() {
  const row = current();
  if (!row || !state.open) return;
  $("name").textContent = row.name;
  $("facts").textContent = [`${state.place + 1} of ${state.listed.length.toLocaleString("en")}`, row.split ?? "no split",
    { keep: "kept", suspect: "needs fixing", exclude: "excluded" }[row.status], ...(row.edited ? ["mask edited"] : []), ...(isDone(row) ? ["done"] : [])].join(" · ");
  for (const button of $("verdicts").children) {
    button.setAttribute("aria-pressed", String(button.dataset.do === row.status && (row.judged || row.status !== "keep")));
  }
  $("findings").replaceChildren(...row.findings.slice(0, 30).map((finding) => findingCard(row, finding)));
}

function findingCard(row, finding) {
  const card = make("article", { className: `finding ${finding.severity}` }, make("h3", { text: codeText(finding.code) }),
    make("p", { text: finding.message }), make("p", { className: "fix", text: finding.answer ? `proposal ${finding.answer}` : finding.fix }));
  const buttons = make("div", { className: "row" });
  if (finding.region) {
    buttons.append(make("button", { type: "button", text: "Show", click: () => view.look(finding.region) }));
  }
  if (finding.number && !finding.answer && row.status !== "exclude") {
    buttons.append(make("button", { type: "button", text: "Accept", title: "Accept the proposal (A)", click: () => judge(row, finding, true) }),
      make("button", { type: "button", text: "Refuse", title: "The label is right (R)", click: () => judge(row, finding, false) }));
  }
  if (buttons.children.length) card.append(buttons);
  return card;
}

async function judge(row, finding, accept) {
  if (!(await answer(row, finding, accept))) return;
  toast(accept ? "Proposal accepted" : "Proposal refused");
  if (!openFindings(row).length && current() === row) go(1);
}

async function verdict(status) {
  const row = current();
  if (!row) return;
  const saved = setStatus(row, status);
  const asked = { keep: "Kept", suspect: "Needs fixing", exclude: "Excluded" }[status];
  if (await saved) {
    toast(`${asked}: ${row.name}`);
    if (current() === row) go(1);
  }
}

function answerFirst(accept) {
  const row = current();
  const finding = row?.findings.find((one) => one.number && !one.answer);
  if (!finding) return toast("There is no open proposal for this sample");
  judge(row, finding, accept);
}

async function undoOrRedo(which) {
  const found = state[which];
  if (!found && !isSaving()) return toast(which === "undo" ? "Nothing to undo" : "Nothing to redo");
  if (cancel() && which === "undo") return view.draw(); // what was begun and not saved
  const samples = await step(which);
  if (!samples?.length) return;
  toast(`${which === "undo" ? "Undone" : "Done again"}: ${found?.what ?? samples[0]}`);
  if (current()?.name !== samples[0] && jumpTo(samples[0])) {
    if (state.open) openSingle();
    else showPlace();
  }
}

function drawClasses() {
  const named = [...state.classes.map((one, index) => [index, one.name, one.colour]), [state.ignore, "ignored", null]];
  let number = 0;
  $("classes").replaceChildren(...named.map(([index, name, colour]) => {
    const key = index === state.ignore ? "I" : index === state.background ? "0" : ++number < 10 ? String(number) : "";
    const swatch = make("span", { className: colour && index !== state.background ? "swatch" : "swatch empty" });
    if (colour && index !== state.background) swatch.style.backgroundColor = colour;
    const button = make("button", { type: "button", role: "radio", "aria-checked": String(tool.class === index), click: () => setClass(index) },
      make("kbd", { text: key }), swatch, make("span", { text: name }));
    button.dataset.index = index;
    return button;
  }));
}

function setClass(index) {
  tool.class = index;
  if (tool.name === "eraser") choose("brush");
  for (const button of $("classes").children) button.setAttribute("aria-checked", String(Number(button.dataset.index) === index));
}

const numbered = () => state.classes.map((_, index) => index).filter((index) => index !== state.background);

function drawTools() {
  if (!$("tools").children.length) {
    for (const [name, [key, text, title]] of Object.entries(TOOLS)) {
      const button = make("button", { type: "button", title: `${title} (${key})`, click: () => choose(name) }, make("kbd", { text: key }), make("span", { text }));
      button.dataset.tool = name;
      $("tools").append(button);
    }
    $("tools").append(make("label", { className: "slider", text: "Size " },
      Object.assign(make("input", { type: "range", id: "size", min: 1, max: 100, title: "Brush size ([ and ])" }), { oninput: (event) => resize.to(Number(event.target.value)) }), make("output", { id: "sized" })));
    for (const [text, title, act] of [["Grow", "Grow the class by one pixel (D)", () => morph(true)], ["Shrink", "Shrink the class by one pixel (Shift-D)", () => morph(false)],
      ["Take all of the model mask", "Take the whole proposal or prediction (Shift-M)", () => takeModel()]]) $("extras").append(make("button", { type: "button", text, title, click: act }));
  }
  for (const button of $("tools").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.tool === tool.name));
  $("size").value = tool.size;
  $("sized").textContent = `${tool.size} px`;
}

resize.to = (size) => {
  tool.size = size;
  drawTools();
  view.draw();
};

// ---- the head

function drawHead() {
  const { due, done, pixels, seconds } = totals(), round = (value) => Math.round(value).toLocaleString("en");
  const audit = { running: " · the audit is running", failed: " · the audit failed" }[state.audit] ?? "";
  const rest = seconds < 90 ? `${round(seconds)} s` : `${round(seconds / 60)} min`;
  $("progress").textContent = (due === 0 ? "no findings" : done === due ? `all ${round(due)} done` :
    `${round(done)} of ${round(due)} done · the rest: about ${round(pixels)} wrong pixels, ${rest}`) + audit;
  $("meter").style.width = `${due ? (100 * done) / due : 0}%`;
  for (const which of ["undo", "redo"]) {
    $(which).disabled = !state[which] && !isSaving();
    $(which).title = state[which] ? `${which === "undo" ? "Undo (Z)" : "Redo (Shift-Z)"}: ${state[which].what}` : "";
  }
  document.title = `${isSaving() ? "saving … " : ""}${state.name ?? ""} · Maskwright review`;
}

function drawFilters() {
  const options = (id, first, values, text = (value) => value) => {
    const kept = state.filters[id];
    $(id).replaceChildren(make("option", { value: "", text: first }), ...values.map((value) => make("option", { value, text: text(value) })));
    $(id).value = values.includes(kept) ? kept : "";
  };
  const splits = [...new Set(state.rows.map((row) => row.split ?? "-"))].sort();
  options("code", "any finding", [...new Set(state.rows.flatMap((row) => row.findings.map((f) => f.code)))].sort(), codeText);
  options("class", "any class", state.classes.map((one) => one.name));
  options("split", "any split", splits, (value) => (value === "-" ? "no split" : value));
  $("general").hidden = !state.general.length;
  $("general").querySelector("summary").textContent = `${state.general.length} ${state.general.length === 1 ? "finding" : "findings"} about the whole dataset`;
  $("general").querySelector("ul").replaceChildren(...state.general.map((f) => make("li", { className: f.severity, text: `${f.code}: ${f.message}; ${f.fix}` })));
}

function drawCount() {
  const { listed, rows } = state;
  $("count").textContent = listed.length === rows.length ? `${rows.length.toLocaleString("en")} samples` : `${listed.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
  $("empty").hidden = listed.length > 0;
  drawPanel();
}

// ---- what is done

const ACTIONS = {
  next: () => go(1),
  previous: () => go(-1),
  enter: () => (state.open ? finish() : ($("queue").hidden ? false : openSingle())),
  escape: () => (state.open ? (cancel() ? view.draw() : showSection("queue")) : $("queue").hidden ? showSection("queue") : false),
  keep: () => verdict("keep"),
  exclude: () => verdict("exclude"),
  suspect: () => verdict("suspect"),
  accept: () => answerFirst(true),
  refuse: () => answerFirst(false),
  undo: () => undoOrRedo("undo"),
  redo: () => undoOrRedo("redo"),
  class: (key) => numbered()[Number(key) - 1] === undefined ? toast(`There is no class ${key}`) : setClass(numbered()[Number(key) - 1]),
  background: () => setClass(state.background ?? state.ignore),
  ignore: () => setClass(state.ignore),
  modelAll: () => takeModel(),
  smaller: () => resize(-1),
  larger: () => resize(1),
  grow: () => morph(true),
  shrink: () => morph(false),
  back: () => takeBack(),
  difference: () => setView(chosen === "difference" ? "label" : "difference"),
  turn: () => setView(chosen === "prediction" ? "label" : "prediction"),
  view: () => setView(Object.keys(VIEWS)[(Object.keys(VIEWS).indexOf(chosen) + 1) % 4]),
  hide: () => {
    view.hidden = !view.hidden;
    view.draw();
    drawNote();
  },
  outlines: () => $("outlines").click(),
  zoomIn: () => view.zoom(1.25),
  zoomOut: () => view.zoom(0.8),
  fit: () => view.fit(),
  search: () => {
    showSection("queue");
    $("text").focus();
  },
  help: () => $("keys").showModal(),
};
for (const name of Object.keys(TOOLS)) ACTIONS[name] = () => choose(name);

function wire() {
  connect(view);
  listen(() => (state.open ? "single" : "queue"), (action, key) => ACTIONS[action](key));
  $("grid").addEventListener("keydown", (event) => moveInGrid(event.key) && event.preventDefault());
  for (const id of ["text", "show", "code", "class", "split", "status", "sort"]) {
    $(id).addEventListener("input", () => {
      state.filters[id] = $(id).value;
      state.place = 0;
      applyFilters();
      $("grid").scrollTop = 0;
    });
  }
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const button of $("verdicts").children) button.addEventListener("click", () => verdict(button.dataset.do));
  for (const [id, act] of [["back", () => showSection("queue")], ["previous", () => go(-1)], ["next", () => go(1)], ["undo", ACTIONS.undo], ["redo", ACTIONS.redo],
    ["help", ACTIONS.help], ["take", () => finish()], ["drop", () => (cancel(), view.draw())], ["tab-queue", () => showSection("queue")], ["tab-runs", () => showSection("runs")], ["theme", turnTheme]]) $(id).addEventListener("click", act);
  $("views").append(...Object.entries(VIEWS).map(([name, text]) => {
    const button = make("button", { type: "button", text, "aria-pressed": String(name === chosen), click: () => setView(name) });
    button.dataset.view = name;
    return button;
  }));
  $("opacity").addEventListener("input", () => {
    view.opacity = Number($("opacity").value) / 100;
    view.paint();
  });
  $("outlines").addEventListener("change", () => {
    view.outlines = $("outlines").checked;
    view.paint();
  });
  $("canvas").addEventListener("pointermove", (event) => {
    pointer = [event.clientX, event.clientY];
    drawReadout();
  });
  view.drawn = drawReadout;
  onConflict((text) => new Promise((resolve) => {
    $("conflict-text").textContent = text;
    const choose = (keep) => () => {
      $("conflict").close();
      resolve(keep);
    };
    $("theirs").onclick = choose(false);
    $("mine").onclick = choose(true);
    $("conflict").oncancel = choose(false);
    $("conflict").showModal();
  }));
  window.addEventListener("beforeunload", (event) => isSaving() && event.preventDefault());
  on("list", drawCount);
  for (const what of ["rows", "saving"]) on(what, drawHead);
  on("rows", drawPanel);
  on("open", openSingle);
  on("place", showPlace);
  on("tool", drawTools);
  for (const what of ["sample", "others", "preview"]) on(what, drawSample);
  on("again", open);
  on("begun", drawNote);
  on("asking", () => {
    $("stage").classList.toggle("asking", assist.isAsking());
    drawNote();
  });
}

function turnTheme() {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const next = dark === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
}

// Now and then: has somebody else, or the audit, changed something?
async function watch() {
  try {
    if (!isSaving()) {
      const found = await get("/api/state");
      if (found.state !== state.version && !isSaving()) {
        await refresh();
        drawFilters();
        if (!state.open) applyFilters();
        if (state.open && isStale() && !tool.rings.length && !editor.preview) {
          await reopen(editor.row);
          toast("Changed elsewhere: this is the new mask");
        }
      }
    }
  } catch { /* the next change says it */ }
  setTimeout(watch, 4000);
}

async function begin() {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  wire();
  writeHelp($("keys-list"));
  let found;
  try {
    found = await get("/api/dataset");
  } catch (error) {
    return toast(error.message, true);
  }
  Object.assign(state, { name: found.name, session: found.session, classes: found.classes, background: found.background, ignore: found.ignore, suspects: found.suspects, rows: found.rows, general: found.findings });
  view.colours = found.classes.map(({ colour }) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
  view.background = found.background;
  $("dataset").textContent = found.name;
  tool.class = numbered()[0] ?? 0;
  drawTools();
  drawClasses();
  take({ ...found, rows: [] });
  drawFilters();
  applyFilters();
  drawGrid();
  const asked = new URLSearchParams(location.hash.slice(1)).get("sample");
  if (asked && jumpTo(asked)) openSingle();
  else $("grid").focus({ preventScroll: true });
  setTimeout(watch, 1500);
}

begin();
