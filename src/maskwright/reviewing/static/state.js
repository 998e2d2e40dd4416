// What the page knows: the samples, which of them are listed, and which is looked at. Parts of the page subscribe.

export const state = {
  classes: [], background: null, ignore: 255, suspects: null, general: [],
  rows: [], listed: [], place: 0, open: false,
  version: "", session: "", audit: "none", undo: null, redo: null,
  filters: { text: "", show: "all", code: "", class: "", split: "", status: "", sort: "gain" },
};

const listeners = new Map();

export function on(what, listener) {
  listeners.set(what, [...(listeners.get(what) ?? []), listener]);
}

export function tell(what) {
  for (const listener of listeners.get(what) ?? []) listener();
}

export const current = () => state.listed[state.place] ?? null;

// A finding is done with once its proposal was answered, or its sample was judged, drawn on, or had all its proposals answered.
export function isOpen(row, finding) {
  if (finding.answer || row.status === "exclude") return false;
  const proposals = row.findings.filter((one) => one.number);
  return !row.judged && !(proposals.length && proposals.every((one) => one.answer));
}

export const isDone = (row) => row.judged || row.findings.some((one) => one.answer) && !openFindings(row).length;

const rate = (finding) => (finding.pixels * finding.score) / finding.seconds;

export const openFindings = (row) => row.findings.filter((finding) => isOpen(row, finding));

const gain = (row) => row.findings.reduce((most, finding) => Math.max(most, rate(finding)), 0);

export function applyFilters() {
  const { text, show, code, class: name, split, status, sort } = state.filters;
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const index = state.classes.findIndex((one) => one.name === name);
  const kept = current();
  state.listed = state.rows.filter((row) =>
    (!split || (row.split ?? "") === (split === "-" ? "" : split)) &&
    (!status || row.status === status) &&
    (!code || row.findings.some((finding) => finding.code === code)) &&
    (!name || row.findings.some((finding) => finding.classes.includes(name)) || row.classes?.includes(index)) &&
    (show === "all" || (show === "judged" ? isDone(row) : openFindings(row).length > 0)) &&
    words.every((word) => row.name.toLowerCase().includes(word) ||
      row.findings.some((f) => `${f.code} ${f.message}`.toLowerCase().includes(word))));
  if (sort === "gain") {
    const gains = new Map(state.listed.map((row) => [row, gain(row)]));
    state.listed.sort((a, b) => gains.get(b) - gains.get(a) || a.id - b.id);
  }
  const place = kept ? state.listed.findIndex((row) => row.id === kept.id) : -1;
  state.place = Math.max(0, place);
  tell("list");
}

// The answer to a change: rows are replaced where they stand, so that nothing jumps.
export function take(answer) {
  for (const row of answer.rows ?? []) {
    const old = state.rows[row.id];
    if (old) Object.assign(old, row);
  }
  for (const key of ["audit", "undo", "redo"]) state[key] = answer[key];
  state.version = answer.state;
  tell("rows");
}

// What is done and what the rest is worth, over all samples with findings.
export function totals() {
  let due = 0, done = 0, pixels = 0, seconds = 0;
  for (const row of state.rows) {
    if (!row.findings.length) continue;
    due++;
    const open = openFindings(row);
    if (!open.length) done++;
    for (const finding of open) {
      pixels += finding.pixels * finding.score;
      seconds += finding.seconds;
    }
  }
  return { due, done, pixels, seconds };
}

export function jumpTo(name) {
  let place = state.listed.findIndex((row) => row.name === name);
  if (place < 0) {
    const row = state.rows.find((one) => one.name === name);
    if (!row) return false;
    state.listed = [row, ...state.listed];
    place = 0;
    tell("list");
  }
  state.place = place;
  tell("place");
  return true;
}
