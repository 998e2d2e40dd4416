// Drawing with the server's help: a line along edges, a mask from a few strokes, a region from a box or a click.
// What comes back is a preview, which Enter takes and Escape drops.

import { Refused, post, postForMask, runsOf } from "/static/api.js";
import { editor } from "/static/editor.js";
import { stroke } from "/static/pixels.js";
import { tell } from "/static/state.js";
import { toast } from "/static/toast.js";

const NONE = 254; // no stroke here
let view = null;
let marks = null; // the strokes, {pixels, width, height}
let anchors = []; // of the scissors: clicked points
let paths = []; // from each to the next
let trail = []; // from the last one to the pointer
let tracing = false;
let wanted = null;
let asking = null;
let asked = 0;

const address = (what) => `/api/samples/${editor.row.id}/${what}`;

async function traced(from, to) {
  const { points } = await post(address("scissors"), { start: from, end: to });
  return points;
}

// One question at a time; the newest waits.
async function follow() {
  if (tracing) return;
  tracing = true;
  while (wanted && anchors.length) {
    const target = wanted, number = asked;
    wanted = null;
    try {
      const points = await traced(anchors.at(-1), target);
      if (number === asked) trail = points;
    } catch (error) {
      toast(error.message, true);
    }
    view.draw();
  }
  tracing = false;
}

export const assist = {
  connect: (shown) => (view = shown),

  busy: () => Boolean(marks || anchors.length || asking),

  isAsking: () => asking !== null,

  drop() {
    asking?.abort();
    asking = marks = wanted = null;
    anchors = [];
    paths = [];
    trail = [];
    asked++;
  },

  async scissorsClick(x, y) {
    const number = ++asked;
    const point = [x, y];
    const from = anchors.at(-1);
    anchors.push(point);
    trail = [];
    if (!from) return;
    const index = paths.length;
    paths.push([from, point]);
    try {
      const points = await traced(from, point);
      if (paths[index]?.[1] === point) paths[index] = points;
    } catch (error) {
      if (number === asked) toast(error.message, true);
    }
    view.draw();
  },

  scissorsMove(x, y) {
    if (!anchors.length) return;
    wanted = [x, y];
    follow();
  },

  takeBack() {
    if (!anchors.length) return false;
    anchors.pop();
    paths.pop();
    trail = [];
    view.draw();
    return true;
  },

  outline: () => (anchors.length > 1 ? [paths.flat()] : []),

  scribble([x0, y0], [x1, y1], tool) {
    const { width, height } = editor.mask;
    marks ??= { pixels: new Uint8Array(width * height).fill(NONE), width, height };
    stroke(marks, x0, y0, x1, y1, Math.max(1, tool.size), tool.class);
    view.draw();
  },

  // Strokes of one class tell nothing apart.
  lacksClass: () => marks !== null && new Set(marks.pixels).size < 3,

  propose: (signal) => marks && !assist.lacksClass() && preview("scribble", { runs: runsOf(marks.pixels) }, signal),

  region(x0, y0, x1, y1, index, signal) {
    const far = Math.hypot(x1 - x0, y1 - y0) * view.scale > 4;
    const box = [Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0)].map(Math.round);
    return preview("region", { class: index, ...(far ? { box } : { point: [Math.floor(x0), Math.floor(y0)] }), runs: runsOf(editor.mask.pixels) }, signal);
  },

  sketch(context, scale, line, colours) {
    if (marks) {
      context.drawImage(markPaper(colours), 0, 0);
    }
    if (anchors.length) {
      line([...paths.flat(), ...trail].length ? [...paths.flat(), ...trail] : [anchors[0]], false);
      for (const [x, y] of anchors) {
        context.beginPath();
        context.arc(x, y, 4 / scale, 0, 7);
        context.fillStyle = "#fff";
        context.fill();
        context.strokeStyle = "#000";
        context.lineWidth = 1.5 / scale;
        context.stroke();
      }
    }
  },
};

const paper = document.createElement("canvas");

function markPaper(colours) {
  const { pixels, width, height } = marks;
  if (paper.width !== width || paper.height !== height) Object.assign(paper, { width, height });
  const pen = paper.getContext("2d"), data = pen.createImageData(width, height);
  for (let at = 0; at < pixels.length; at++) {
    if (pixels[at] === NONE) continue;
    const [red, green, blue] = colours[pixels[at]] ?? [255, 255, 255];
    // A dark rim shows strokes of the background, and those on an overlay of their own class.
    const x = at % width, rim = (x && pixels[at - 1] === NONE) || (x + 1 < width && pixels[at + 1] === NONE) ||
      pixels[at - width] === NONE || pixels[at + width] === NONE;
    data.data.set(rim ? [255, 255, 255, 255] : [red, green, blue, 255], at * 4);
  }
  pen.putImageData(data, 0, 0);
  return paper;
}

async function preview(what, body, signal) {
  const row = editor.row;
  const found = await postForMask(address(what), body, signal);
  if (editor.row !== row) return;
  editor.preview = found;
  tell("preview");
}

// Asks the server; an older question is given up.
export async function ask(question) {
  asking?.abort();
  const own = (asking = new AbortController());
  tell("asking");
  try {
    await question(own.signal);
  } catch (error) {
    if (error.name !== "AbortError" && (error instanceof Refused)) toast(error.message, true);
    else if (error.name !== "AbortError") throw error;
  } finally {
    if (asking === own) asking = null;
    tell("asking");
  }
}
