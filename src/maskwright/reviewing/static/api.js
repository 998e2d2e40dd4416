// What the server is asked. Masks come as one byte a pixel and go as run lengths.

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function asked(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. Is `maskwright review` still running?", 0);
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  let message = text;
  try {
    message = JSON.parse(text).error;
  } catch { /* plain text */ }
  throw new Refused(message || `error ${answer.status}`, answer.status);
}

export const get = async (path) => (await asked(path)).json();

export const post = async (path, body) => (await asked(path, posted(body))).json();

const posted = (body, signal) => ({
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal,
});

async function asMask(answer) {
  return {
    pixels: new Uint8Array(await answer.arrayBuffer()),
    width: Number(answer.headers.get("x-width")),
    height: Number(answer.headers.get("x-height")),
    revision: answer.headers.get("x-revision"),
  };
}

export const getMask = async (path) => asMask(await asked(path));

export const postForMask = async (path, body, signal) => asMask(await asked(path, posted(body, signal)));

// [value, length, value, length, …] along the rows.
export function runsOf(pixels) {
  const runs = [];
  for (let start = 0, end; start < pixels.length; start = end) {
    const value = pixels[start];
    end = start + 1;
    while (end < pixels.length && pixels[end] === value) end++;
    runs.push(value, end - start);
  }
  return runs;
}
