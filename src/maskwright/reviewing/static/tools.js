// The tools: what pointers do on the canvas. Each stroke, polygon or fill is one change, saved when it ends.

import { editor, saveMask } from "/static/editor.js";
import { fill, grow, polygon, shrink, snapped, stroke } from "/static/pixels.js";
import { state, tell } from "/static/state.js";
import { toast } from "/static/toast.js";
import { ask, assist } from "/static/assist.js";

export const TOOLS = {
  brush: ["B", "Brush", "Draw the class; [ and ] change the size"],
  eraser: ["E", "Eraser", "Draw the background"],
  polygon: ["P", "Polygon", "Click corners, Enter closes; Shift-click begins a hole; Backspace takes one back"],
  fill: ["U", "Fill", "Click a region to give it the class"],
  scissors: ["W", "Scissors", "Click along an edge, Enter closes: the line follows the edge"],
  scribble: ["S", "Scribble", "Stroke each class a little; what it makes of it is shown, Enter takes it, Escape drops it"],
  region: ["C", "Region", "Drag a box around an object to draw it anew, or click into one to give it the class; Enter takes it, Escape drops it"],
  model: ["M", "Model mask", "Draw around a place: inside, the proposal or prediction is taken; Shift-M takes all of it"],
  hand: ["N", "Move", "Drag the image; also the middle or right button, or two fingers"],
};

export const tool = { name: "brush", size: 9, class: 0, rings: [], at: null, busy: false };

let view = null;
let last = null; // of a stroke
let moved = null; // of panning
let lasso = null;
let box = null;
const pointers = new Map();

export function choose(name) {
  cancel();
  tool.name = name;
  tell("tool");
  view.draw();
}

export function resize(step) {
  const { size } = tool;
  tool.size = Math.max(1, Math.min(300, step > 0 ? size + Math.max(1, Math.floor(size / 5)) : size - Math.max(1, Math.floor(size / 6))));
  tell("tool");
  view.draw();
}

const erased = () => state.background ?? state.ignore;
const value = () => (tool.name === "eraser" ? erased() : tool.class);

// Ends what is not in the mask yet, without it; false when there was nothing.
export function cancel() {
  const any = tool.rings.length > 0 || lasso || box || last || assist.busy() || editor.preview;
  tool.rings = [];
  lasso = box = last = null;
  assist.drop();
  editor.preview = null;
  tell("preview");
  return Boolean(any);
}

// Whether something was begun that Enter takes and Escape drops.
export const isBegun = () => Boolean(editor.preview) || tool.rings.length > 0 || assist.busy();

function changed(bounds) {
  if (!bounds) return false;
  if (editor.mask) view.paint(bounds);
  saveMask();
  return true;
}

// Enter: what was begun is put into the mask.
export function finish() {
  if (editor.preview) {
    editor.mask.pixels.set(editor.preview.pixels);
    cancel();
    changed([0, 0, editor.mask.width, editor.mask.height]);
    return true;
  }
  if (tool.name === "scissors") tool.rings = assist.outline();
  const rings = tool.rings.filter((ring) => ring.length > 2);
  if (!rings.length) return tool.rings.length ? toast("Three corners at least") : false;
  const box = polygon(editor.mask, rings, value());
  cancel();
  changed(box);
  return true;
}

export function takeBack() {
  if (tool.name === "scissors") return assist.takeBack();
  const ring = tool.rings.at(-1);
  if (!ring) return false;
  ring.pop();
  if (!ring.length) tool.rings.pop();
  view.draw();
  return true;
}

export function morph(bigger) {
  if (!editor.ready) return;
  if (tool.class === erased() && !bigger) return toast("The background is not shrunk: grow a class instead");
  changed(bigger ? grow(editor.mask, tool.class, state.ignore) : shrink(editor.mask, tool.class, erased())) ||
    toast("The class is not in this mask");
}

export function takeModel(rings = null) {
  const other = editor.proposal ?? editor.prediction;
  if (!editor.ready) return;
  if (!other) return toast("There is no prediction for this image; `maskwright suspects` makes them", true);
  const all = [[[0, 0], [other.width, 0], [other.width, other.height], [0, other.height]]];
  changed(polygon(editor.mask, rings ?? all, 0, other.pixels));
}

function start(x, y, event) {
  if (!editor.ready) return toast(editor.why || "The mask is still loading", Boolean(editor.why));
  const { mask } = editor;
  if (tool.name === "brush" || tool.name === "eraser") {
    last = [x, y];
    view.paint(stroke(mask, x, y, x, y, tool.size, value()) ?? [0, 0, 0, 0]);
  } else if (tool.name === "polygon") {
    if (!tool.rings.length || event.shiftKey) tool.rings.push([]);
    tool.rings.at(-1).push([x, y]);
  } else if (tool.name === "fill") changed(fill(mask, x, y, tool.class));
  else if (tool.name === "scissors") assist.scissorsClick(x, y);
  else if (tool.name === "scribble") assist.scribble((last = [x, y]), last, tool);
  else if (tool.name === "region") box = [x, y, x, y];
  else if (tool.name === "model") lasso = [[x, y]];
  tell("begun");
}

function move(x, y) {
  tool.at = [x, y];
  if (last && (tool.name === "brush" || tool.name === "eraser")) {
    const bounds = stroke(editor.mask, ...last, x, y, tool.size, value());
    last = [x, y];
    if (bounds) view.paint(bounds);
  } else if (last && tool.name === "scribble") assist.scribble(last, (last = [x, y]), tool);
  else if (box) box = [box[0], box[1], x, y];
  else if (lasso) lasso.push([x, y]);
  else if (tool.name === "scissors") assist.scissorsMove(x, y);
  view.draw();
}

function end() {
  if (last && tool.name === "scribble") ask((signal) => assist.propose(signal));
  else if (last) saveMask();
  const bounds = box;
  if (bounds) ask((signal) => assist.region(...bounds, tool.class, signal));
  if (lasso && lasso.length > 2) takeModel([lasso]);
  last = lasso = box = null;
  view.draw();
}

const place = (event) => {
  const bounds = view.canvas.getBoundingClientRect();
  return [event.clientX - bounds.left, event.clientY - bounds.top];
};

function down(event) {
  view.canvas.focus({ preventScroll: true });
  view.canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, place(event));
  event.preventDefault();
  if (pointers.size === 2) { // two fingers move and zoom; what the first began is given up
    if (last && tool.name !== "scribble") tell("again");
    last = lasso = box = null;
    moved = "pinch";
  } else if (event.button > 0 || tool.name === "hand") moved = "pan";
  else if (pointers.size === 1) start(...view.toImage(...place(event)), event);
}

function drag(event) {
  const before = pointers.get(event.pointerId), now = place(event);
  if (before && moved === "pan") view.pan(now[0] - before[0], now[1] - before[1]);
  else if (before && moved === "pinch" && pointers.size === 2) {
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const far = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
    view.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    view.zoom(far(now) / far(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  } else if (!moved) {
    const events = event.getCoalescedEvents?.() ?? [];
    const bounds = view.canvas.getBoundingClientRect();
    for (const one of events.length ? events : [event]) move(...view.toImage(one.clientX - bounds.left, one.clientY - bounds.top));
  }
  if (before) pointers.set(event.pointerId, now);
}

function up(event) {
  pointers.delete(event.pointerId);
  if (!moved && event.type === "pointerup") end();
  if (!moved && event.type === "pointercancel" && last) end();
  if (!pointers.size) moved = null;
}

function wheel(event) {
  event.preventDefault();
  if (event.shiftKey) view.pan(-(event.deltaX || event.deltaY), 0);
  else view.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015) * (event.deltaMode ? 20 : 1)), ...place(event));
}

// What is not in the mask yet, drawn over it in the coordinates of the image.
function sketch(context, scale) {
  const line = (points, closed) => {
    context.beginPath();
    points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
    if (closed) context.closePath();
    for (const [colour, width] of [["#000", 3.5], ["#fff", 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width / scale;
      context.stroke();
    }
  };
  for (const ring of tool.rings) line(ring.concat(ring === tool.rings.at(-1) && tool.at ? [tool.at] : []), ring !== tool.rings.at(-1));
  if (lasso) line(lasso, true);
  if (box) line([[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[3]]], true);
  assist.sketch(context, scale, line, view.colours);
  if (tool.at && ["brush", "eraser", "scribble"].includes(tool.name)) {
    const [x, y] = tool.at.map((at) => snapped(at, tool.size));
    context.beginPath();
    context.arc(x, y, Math.max(tool.size / 2, 1 / scale), 0, 7);
    for (const [colour, width] of [["#000", 3], ["#fff", 1.2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width / scale;
      context.stroke();
    }
  }
}

export function connect(shown) {
  view = shown;
  view.sketch = sketch;
  assist.connect(shown);
  const { canvas } = view;
  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", drag);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => ((tool.at = null), view.draw()));
  canvas.addEventListener("wheel", wheel, { passive: false });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => ["polygon", "scissors"].includes(tool.name) && finish());
}
