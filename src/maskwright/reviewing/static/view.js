// Shows image and mask on the canvas: zoom, pan, overlay, outlines, difference, pixel grid. Nothing here changes a mask.

const HATCH = [255, 255, 255, 200];
const ORANGE = [230, 159, 0, 255], BLUE = [86, 180, 233, 255];

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.paper = document.createElement("canvas"); // the mask as colours, one pixel each
    this.pen = this.paper.getContext("2d", { willReadFrequently: true });
    this.image = null;
    this.mask = null; // {pixels, width, height} that is shown
    this.other = null; // what it differs from, in the view `difference`
    this.kind = "label";
    this.hidden = false;
    this.opacity = 0.45;
    this.outlines = true;
    this.colours = [];
    this.background = null;
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.fitted = true;
    this.sketch = () => {}; // draws what is not in the mask yet
    this.waiting = false;
    new ResizeObserver(() => (this.fitted ? this.fit() : this.draw())).observe(canvas);
  }

  show(image, mask) {
    const sized = !this.mask || this.mask.width !== mask.width || this.mask.height !== mask.height;
    this.image = image;
    this.mask = mask;
    if (sized) {
      this.paper.width = mask.width;
      this.paper.height = mask.height;
    }
    this.paint();
    if (sized || this.fitted) this.fit();
  }

  // Colours the box [left, top, right, bottom) of the mask, and one pixel around it, whose outlines may change.
  paint(box = null) {
    if (!this.mask) return;
    const { pixels, width, height } = this.mask;
    const [left, top, right, bottom] = box
      ? [Math.max(0, box[0] - 1), Math.max(0, box[1] - 1), Math.min(width, box[2] + 1), Math.min(height, box[3] + 1)]
      : [0, 0, width, height];
    if (left >= right || top >= bottom) return;
    const data = this.pen.createImageData(right - left, bottom - top);
    const difference = this.kind === "difference" && this.other;
    const alpha = Math.round(255 * this.opacity);
    for (let y = top, to = 0; y < bottom; y++) {
      for (let x = left, at = y * width + left; x < right; x++, at++, to += 4) {
        const value = pixels[at];
        let colour = null, opaque = alpha;
        if (difference) {
          const theirs = difference.pixels[at];
          if (theirs !== value && value !== 255 && theirs !== 255) colour = value === this.background ? BLUE : ORANGE;
          opaque = 150;
        } else if (value === 255) {
          if ((x + y) % 8 < 2) colour = HATCH, opaque = HATCH[3];
        } else if (value !== this.background) {
          colour = this.colours[value];
          if (this.outlines && ((x && pixels[at - 1] !== value) || (x + 1 < width && pixels[at + 1] !== value) ||
              (y && pixels[at - width] !== value) || (y + 1 < height && pixels[at + width] !== value))) opaque = 255;
        }
        if (!colour) continue;
        data.data[to] = colour[0];
        data.data[to + 1] = colour[1];
        data.data[to + 2] = colour[2];
        data.data[to + 3] = opaque;
      }
    }
    this.pen.putImageData(data, left, top);
    this.draw();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.drawNow();
      this.drawn?.();
    });
  }

  drawNow() {
    const { canvas, context } = this, ratio = window.devicePixelRatio || 1;
    const wide = Math.round(canvas.clientWidth * ratio), high = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== wide || canvas.height !== high) {
      canvas.width = wide;
      canvas.height = high;
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, wide, high);
    if (!this.mask) return;
    context.setTransform(ratio * this.scale, 0, 0, ratio * this.scale, ratio * this.left, ratio * this.top);
    const { width, height } = this.mask;
    context.imageSmoothingEnabled = this.scale * ratio < 1.5;
    const greyed = this.kind === "difference" && !this.hidden;
    context.filter = greyed ? "grayscale(1) brightness(0.7)" : "none";
    if (this.image) context.drawImage(this.image, 0, 0, width, height);
    context.filter = "none";
    if (!this.hidden && this.kind !== "image") {
      context.imageSmoothingEnabled = this.scale * ratio < 0.75;
      context.drawImage(this.paper, 0, 0);
    }
    if (this.scale >= 8) this.drawGrid(width, height);
    this.sketch(context, this.scale);
  }

  drawGrid(width, height) {
    const { context } = this;
    const [x0, y0] = this.toImage(0, 0), [x1, y1] = this.toImage(this.canvas.clientWidth, this.canvas.clientHeight);
    const left = Math.max(0, Math.floor(x0)), right = Math.min(width, Math.ceil(x1));
    const top = Math.max(0, Math.floor(y0)), bottom = Math.min(height, Math.ceil(y1));
    context.beginPath();
    for (let x = left; x <= right; x++) context.moveTo(x, top), context.lineTo(x, bottom);
    for (let y = top; y <= bottom; y++) context.moveTo(left, y), context.lineTo(right, y);
    context.strokeStyle = "rgba(128,128,128,.45)";
    context.lineWidth = 1 / this.scale;
    context.stroke();
  }

  fit() {
    if (!this.mask) return;
    const { clientWidth, clientHeight } = this.canvas, { width, height } = this.mask;
    this.scale = Math.max(0.01, Math.min((clientWidth - 16) / width, (clientHeight - 16) / height));
    this.left = (clientWidth - width * this.scale) / 2;
    this.top = (clientHeight - height * this.scale) / 2;
    this.fitted = true;
    this.draw();
  }

  // Keeps the image point that is at (x, y) of the canvas, by default its middle, where it is.
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.max(0.02, Math.min(64, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.fitted = false;
    this.draw();
  }

  // The box (x, y, width, height) of the image in the middle, with room around it.
  look([x, y, width, height]) {
    const { clientWidth, clientHeight } = this.canvas;
    this.scale = Math.min(24, Math.max(0.05, 0.6 * Math.min(clientWidth / width, clientHeight / height)));
    this.left = clientWidth / 2 - (x + width / 2) * this.scale;
    this.top = clientHeight / 2 - (y + height / 2) * this.scale;
    this.fitted = false;
    this.draw();
  }

  toImage(x, y) {
    return [(x - this.left) / this.scale, (y - this.top) / this.scale];
  }
}
