// Drawing on a Uint8Array of class indices, exactly: no antialiasing, no canvas. A mask is {pixels, width, height};
// every function returns the box [left, top, right, bottom) that it may have changed, or null.

const clamp = (value, least, most) => Math.max(least, Math.min(most, value));

// Where the middle of a brush of `size` pixels lies: in the middle of a pixel for odd sizes, on a corner for even ones.
export const snapped = (at, size) => (size % 2 ? Math.floor(at) + 0.5 : Math.round(at));

// Every pixel whose middle is at most size / 2 away from the line between two points.
export function stroke(mask, x0, y0, x1, y1, size, value) {
  [x0, y0, x1, y1] = [x0, y0, x1, y1].map((at) => snapped(at, size));
  const radius = size / 2, dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy;
  const left = clamp(Math.floor(Math.min(x0, x1) - radius), 0, mask.width);
  const right = clamp(Math.ceil(Math.max(x0, x1) + radius), 0, mask.width);
  const top = clamp(Math.floor(Math.min(y0, y1) - radius), 0, mask.height);
  const bottom = clamp(Math.ceil(Math.max(y0, y1) + radius), 0, mask.height);
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const px = x + 0.5 - x0, py = y + 0.5 - y0;
      const along = length ? clamp((px * dx + py * dy) / length, 0, 1) : 0;
      const ax = px - along * dx, ay = py - along * dy;
      if (ax * ax + ay * ay <= radius * radius + 1e-9) mask.pixels[y * mask.width + x] = value;
    }
  }
  return left < right && top < bottom ? [left, top, right, bottom] : null;
}

// Calls `each(row, first, end)` for the pixels whose middles lie inside rings [[x, y], …] by the even-odd rule.
function insideRings(rings, width, height, each) {
  let top = height, bottom = 0;
  for (const ring of rings) {
    for (const [, y] of ring) {
      top = Math.min(top, Math.floor(y));
      bottom = Math.max(bottom, Math.ceil(y));
    }
  }
  for (let row = Math.max(0, top); row < Math.min(height, bottom); row++) {
    const middle = row + 0.5, crossings = [];
    for (const ring of rings) {
      for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
        const [ax, ay] = ring[j], [bx, by] = ring[i];
        if (ay > middle !== by > middle) crossings.push(ax + ((middle - ay) / (by - ay)) * (bx - ax));
      }
    }
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const first = clamp(Math.ceil(crossings[i] - 0.5), 0, width), end = clamp(Math.ceil(crossings[i + 1] - 0.5), 0, width);
      if (first < end) each(row, first, end);
    }
  }
}

// Fills rings with a value, or with what `source` (a Uint8Array of the same size) has there.
export function polygon(mask, rings, value, source = null) {
  const box = [mask.width, mask.height, 0, 0];
  insideRings(rings, mask.width, mask.height, (row, first, end) => {
    const start = row * mask.width;
    if (source) mask.pixels.set(source.subarray(start + first, start + end), start + first);
    else mask.pixels.fill(value, start + first, start + end);
    box[0] = Math.min(box[0], first);
    box[1] = Math.min(box[1], row);
    box[2] = Math.max(box[2], end);
    box[3] = Math.max(box[3], row + 1);
  });
  return box[0] < box[2] ? box : null;
}

// The pixels of the same value that hang together (over sides) with the one at (x, y).
export function fill(mask, x, y, value) {
  const { pixels, width, height } = mask;
  [x, y] = [Math.floor(x), Math.floor(y)];
  if (x < 0 || y < 0 || x >= width || y >= height) return null;
  const old = pixels[y * width + x];
  if (old === value) return null;
  const stack = [y * width + x], box = [x, y, x + 1, y + 1];
  while (stack.length) {
    let place = stack.pop();
    if (pixels[place] !== old) continue;
    const row = Math.floor(place / width), start = row * width;
    let left = place, right = place + 1;
    while (left > start && pixels[left - 1] === old) left--;
    while (right < start + width && pixels[right] === old) right++;
    pixels.fill(value, left, right);
    box[0] = Math.min(box[0], left - start);
    box[1] = Math.min(box[1], row);
    box[2] = Math.max(box[2], right - start);
    box[3] = Math.max(box[3], row + 1);
    for (const next of [row ? -width : 0, row + 1 < height ? width : 0]) {
      if (!next) continue;
      for (place = left + next; place < right + next; place++) {
        if (pixels[place] === old && (place === left + next || pixels[place - 1] !== old)) stack.push(place);
      }
    }
  }
  return box;
}

// One pixel more of the class all around (over sides), or one less, which becomes `other`. Ignored pixels stay.
export function grow(mask, value, ignore) {
  return spread(mask, (near, here) => here !== value && here !== ignore && near === value, value);
}

export function shrink(mask, value, other) {
  return spread(mask, (near, here) => here === value && near !== value, other);
}

function spread(mask, changes, value) {
  const { pixels, width, height } = mask, before = pixels.slice();
  let any = false;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const here = before[at];
      if ((x && changes(before[at - 1], here)) || (x + 1 < width && changes(before[at + 1], here)) ||
          (y && changes(before[at - width], here)) || (y + 1 < height && changes(before[at + width], here))) {
        pixels[at] = value;
        any = true;
      }
    }
  }
  return any ? [0, 0, width, height] : null;
}
