// The keys: one table, from which help is made too.

import { make } from "/static/toast.js";

// [keys, what they do, where: "any", "queue" or "single", name of the action]
export const KEYS = [
  [["J"], "Next sample", "any", "next"],
  [["K"], "Previous sample", "any", "previous"],
  [["Enter"], "Open the sample; in a tool: take or close what was begun", "any", "enter"],
  [["Escape"], "Drop what was begun; else back to the queue", "any", "escape"],
  [["G"], "Keep: the label is right", "any", "keep"],
  [["X"], "Exclude the sample", "any", "exclude"],
  [["F"], "Needs fixing (status suspect)", "any", "suspect"],
  [["A"], "Accept the proposal", "any", "accept"],
  [["R"], "Refuse the proposal", "any", "refuse"],
  [["Z"], "Undo the last change, also after a restart", "any", "undo"],
  [["Shift+Z"], "Redo", "any", "redo"],
  [["1", "2", "3", "4", "5", "6", "7", "8", "9"], "Class to draw, as numbered in the list", "single", "class"],
  [["0"], "Draw the background", "single", "background"],
  [["I"], "Draw ignored pixels", "single", "ignore"],
  [["B"], "Brush", "single", "brush"],
  [["E"], "Eraser", "single", "eraser"],
  [["P"], "Polygon", "single", "polygon"],
  [["U"], "Fill", "single", "fill"],
  [["W"], "Scissors along edges", "single", "scissors"],
  [["S"], "Scribble", "single", "scribble"],
  [["C"], "Region from a box or a click", "single", "region"],
  [["M"], "Take the model's mask inside a line", "single", "model"],
  [["Shift+M"], "Take all of the model's mask", "single", "modelAll"],
  [["N"], "Move the image", "single", "hand"],
  [["["], "Smaller brush", "single", "smaller"],
  [["]"], "Larger brush", "single", "larger"],
  [["D"], "Grow the class by one pixel", "single", "grow"],
  [["Shift+D"], "Shrink the class by one pixel", "single", "shrink"],
  [["Backspace"], "Take the last corner back", "single", "back"],
  [["Space"], "Difference view on and off", "single", "difference"],
  [["T"], "Label or model, in turn", "single", "turn"],
  [["V"], "Next view", "single", "view"],
  [["H"], "Hide the mask", "single", "hide"],
  [["O"], "Outlines", "single", "outlines"],
  [["+", "="], "Zoom in", "single", "zoomIn"],
  [["-"], "Zoom out", "single", "zoomOut"],
  [["."], "Fit into the window", "single", "fit"],
  [["/"], "Search", "any", "search"],
  [["?"], "These keys", "any", "help"],
];

const table = new Map(KEYS.flatMap(([keys, , where, action]) => keys.map((key) => [key, [where, action]])));

function named(event) {
  if (event.key === " ") return "Space";
  if (event.key.length > 1) return event.key;
  const letter = event.key.toUpperCase();
  return event.shiftKey && /^[A-Z]$/.test(letter) ? `Shift+${letter}` : letter;
}

// Calls `act(action, key)`, which says with `false` that it has nothing to do; not while a text is typed.
export function listen(where, act) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey && event.key.toLowerCase() === "z") {
      event.preventDefault();
      act(event.shiftKey ? "redo" : "undo");
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const { target } = event;
    const typing = target.matches("input[type=search], select");
    if (typing) {
      if (event.key === "Escape") target.blur();
      return;
    }
    const found = table.get(named(event));
    if (!found || (found[0] !== "any" && found[0] !== where())) return;
    // A focused button is pressed by Enter and Space, as everywhere.
    if (target.matches("button, summary, a, input") && (event.key === "Enter" || (event.key === " " && !target.matches("input[type=range]")))) return;
    if (act(found[1], event.key) !== false) event.preventDefault();
  });
}

export function writeHelp(list) {
  for (const [place, title] of [["any", "Everywhere"], ["single", "One sample"]]) {
    const rows = KEYS.filter(([, , where]) => where === place);
    list.append(make("h3", { text: title }), make("dl", {}, ...rows.flatMap(([keys, text]) => [
      make("dt", {}, ...(keys.length > 3 ? [make("kbd", { text: `${keys[0]} – ${keys.at(-1)}` })] : keys.map((key) => make("kbd", { text: key })))),
      make("dd", { text }),
    ])));
  }
  list.append(make("p", { text: "Wheel or pinch zooms. The middle or right button, or two fingers, move the image. A pen and a finger draw like the mouse." }));
}
