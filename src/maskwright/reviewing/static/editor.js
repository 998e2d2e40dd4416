// The sample that is looked at: its image and masks, and the saving of every change at once, one after the other.

import { Refused, get, getMask, post, runsOf } from "/static/api.js";
import { current, state, take, tell } from "/static/state.js";
import { toast } from "/static/toast.js";

export const editor = { row: null, image: null, mask: null, prediction: null, proposal: null, preview: null, why: "", ready: false };

const loads = new Map(); // what was asked for, so that neighbours are there at once
let saving = Promise.resolve();
let pending = 0;
let dropped = 0; // grows when the changes that wait are given up
const bases = new Map(); // of samples by id: the revision that the mask shown is based on
const reloads = new Map(); // of samples by id: how often the mask shown was loaded again
let ask = null; // shows the choice after a conflict

export const onConflict = (choose) => (ask = choose);

export const isSaving = () => pending > 0;

function remembered(key, load) {
  if (!loads.has(key)) {
    const loading = load();
    loading.catch(() => loads.delete(key));
    loads.set(key, loading);
    if (loads.size > 40) loads.delete(loads.keys().next().value);
  }
  return loads.get(key);
}

const address = (row) => `/api/samples/${row.id}`;

function image(row) {
  return remembered(`image ${row.id}`, async () => {
    const answer = await fetch(`${address(row)}/image?v=${state.session}`);
    if (!answer.ok) throw new Refused((await answer.json()).error, answer.status);
    return createImageBitmap(await answer.blob());
  });
}


function mask(row) {
  const asked = row.revision, key = `mask ${row.id} ${asked}`;
  return remembered(key, async () => {
    const found = await getMask(`${address(row)}/mask`);
    if (found.revision !== asked) loads.delete(key); // it was changed elsewhere in between
    return found;
  });
}

const prediction = (row) => remembered(`prediction ${row.id}`, () => getMask(`${address(row)}/prediction`));
const proposal = (row) => remembered(`proposal ${row.id} ${row.revision}`, () => getMask(`${address(row)}/proposal`));

const copied = (found) => ({ ...found, pixels: found.pixels.slice() });

function prefetch() {
  for (const place of [state.place + 1, state.place - 1]) {
    const row = state.listed[place];
    if (row) Promise.all([image(row), mask(row)]).catch(() => {});
  }
}

// Loads what the current row needs; `tell("sample")` when it can be shown, and again when predictions are there.
export async function open() {
  const row = current();
  Object.assign(editor, { row, preview: null, ready: false, why: "", prediction: null, proposal: null });
  if (!row) return;
  const stale = () => editor.row !== row;
  try {
    await saving;
    const [picture, label] = await Promise.all([image(row), mask(row)]);
    if (stale()) return;
    bases.set(row.id, label.revision);
    Object.assign(editor, { image: picture, mask: copied(label), ready: true });
  } catch (error) {
    if (stale()) return;
    editor.why = error.message;
    editor.image = await image(row).catch(() => null);
    if (stale()) return;
    const { width = 256, height = 256 } = editor.image ?? {};
    editor.mask = { pixels: new Uint8Array(width * height).fill(state.ignore), width, height };
  }
  tell("sample");
  prefetch();
  const wanted = row.findings.some((finding) => finding.number);
  const [predicted, proposed] = await Promise.all([
    prediction(row).catch(() => null), wanted ? proposal(row).catch(() => null) : null,
  ]);
  if (stale()) return;
  editor.prediction = predicted;
  editor.proposal = proposed;
  tell("others");
}

// Saves one change after the other; false for one that failed, of which a line says why.
function queued(change) {
  pending++;
  const born = dropped;
  const done = saving.then(() => (born === dropped ? change() : undefined)); // else it was based on what is gone
  saving = done.catch((error) => {
    toast(error.message, true);
    return false;
  }).finally(() => {
    pending--;
    tell("saving");
  });
  tell("saving");
  return saving;
}

async function sent(row, path, body) {
  const mine = runsOfBody(body);
  let revision = body.pixels ? bases.get(row.id) : row.revision;
  for (;;) {
    try {
      const answer = await post(`${address(row)}/${path}`, { ...body, ...mine, revision });
      // What was changed elsewhere in between is not in the mask that is shown, and stays a conflict for it.
      if (bases.get(row.id) === revision) bases.set(row.id, answer.rows.find((one) => one.id === row.id).revision);
      take(answer);
      return true;
    } catch (error) {
      if (error.status !== 409 || !ask) throw error;
      const keep = await ask(error.message);
      if (!keep) {
        dropped++;
        await held(row, refresh);
        return false;
      }
      await refresh();
      revision = row.revision;
      if (body.pixels) bases.set(row.id, revision);
    }
  }
}

const runsOfBody = (body) => (body.pixels ? { runs: runsOf(body.pixels), pixels: undefined } : {});

// Does what changes the mask of a row on the server; until it is here, nothing is drawn on the one that is shown, which
// would bring back what is gone.
async function held(row, work) {
  const shown = () => editor.row === row && editor.mask;
  if (shown()) editor.ready = false;
  tell("begun");
  try {
    const done = await work();
    if (shown()) await reopen(row);
    return done;
  } finally {
    if (shown()) editor.ready = !editor.why;
    tell("begun");
  }
}

// Whether the mask that is shown is not what it is by now.
export const isStale = () => editor.ready && !pending && bases.get(editor.row.id) !== editor.row.revision;

export async function reopen(row) {
  const label = await mask(row);
  if (editor.row !== row) return;
  bases.set(row.id, label.revision);
  reloads.set(row.id, (reloads.get(row.id) ?? 0) + 1);
  editor.mask = copied(label);
  editor.ready = true;
  if (row.findings.some((finding) => finding.number)) editor.proposal = await proposal(row).catch(() => null);
  tell("sample");
}

export const setStatus = (row, status) => queued(() => sent(row, "edit", { status }));

// The mask as it is now; the copy is taken before anything else can be drawn.
export function saveMask() {
  const { row, mask: drawn } = editor;
  if (!editor.ready) return false;
  const pixels = drawn.pixels.slice();
  tell("others");
  const born = reloads.get(row.id);
  return queued(async () => {
    if (born !== reloads.get(row.id)) return false; // it was drawn on what an undo before it has taken back
    const kept = await sent(row, "edit", { pixels });
    if (kept) loads.set(`mask ${row.id} ${row.revision}`, Promise.resolve({ ...drawn, pixels, revision: row.revision }));
  });
}

export async function answer(row, finding, accept) {
  const body = { folder: finding.source, number: finding.number, accept };
  const send = () => sent(row, "answer", body);
  return queued(() => (accept ? held(row, send) : send()));
}

// Undoes or redoes the last change of all; returns the samples that it was about.
export function step(which) {
  return queued(async () => {
    const found = state[which];
    if (!found) return [];
    const change = async () => {
      try {
        take(await post(`/api/${which}`, { batch: found.batch }));
      } catch (error) {
        if (error.status === 409) await refresh();
        throw error;
      }
      return found.samples;
    };
    return editor.row && found.samples.includes(editor.row.name) ? held(editor.row, change) : change();
  });
}

// Everything anew, after somebody else has changed something.
export async function refresh() {
  const found = await get("/api/dataset");
  const known = new Map(state.rows.map((row) => [row.id, row]));
  for (const row of found.rows) {
    if (known.has(row.id)) Object.assign(known.get(row.id), row);
    else state.rows.push(row);
  }
  state.general = found.findings;
  take({ ...found, rows: [] });
}
