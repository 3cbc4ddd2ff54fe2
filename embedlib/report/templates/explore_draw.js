// Points as pixels, without a GPU: the same on every machine, and a hundred thousand in one frame.
const OPACITY = 0.85;

// Pixels of a disc around (0, 0), and how much of each it covers, out of 256.
function stampOf(radius) {
  const stamp = [];
  const reach = Math.ceil(radius);
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const cover = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(dx, dy)));
      const alpha = Math.round(256 * OPACITY * cover);
      if (alpha) stamp.push([dx, dy, alpha]);
    }
  }
  return { reach, pixels: stamp };
}

// "#rrggbb" as a pixel in memory: red is the lowest byte.
function pixelOf(colour) {
  const [r, g, b] = [1, 3, 5].map(start => parseInt(colour.slice(start, start + 2), 16));
  return (0xff000000 | b << 16 | g << 8 | r) >>> 0;
}

// All of n indices, neighbours far apart, so that no class always lies on top of the others.
function spread(n) {
  const divisor = (a, b) => (b ? divisor(b, a % b) : a);
  let step = Math.max(1, Math.floor(0.618 * n));
  while (divisor(n, step) > 1) step++;
  const order = new Int32Array(n);
  for (let j = 1; j < n; j++) order[j] = (order[j - 1] + step) % n;
  return order;
}

class Painter {
  constructor(canvas, places) {
    this.places = places;
    this.order = spread(places.length / 2);
    this.context = canvas.getContext("2d", { alpha: false });
    this.resize(1, 1);
  }

  resize(width, height) {
    this.image = new ImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  begin(ground) {
    this.pixels.fill(ground);
  }

  // Points that match, or all; colours are pixels, one for each, or one for all.
  points(view, radius, colours, matches, wanted) {
    const { places, order } = this;
    const { width, height } = this.image;
    const { reach, pixels: disc } = stampOf(radius);
    const offsets = Int32Array.from(disc, ([dx, dy]) => dy * width + dx);
    const alphas = Int32Array.from(disc, ([, , alpha]) => alpha);
    const { scale, left, top } = view;
    const [right, bottom] = [width - reach, height - reach];
    const target = this.pixels;
    const isOne = typeof colours === "number";
    for (let j = 0; j < order.length; j++) {
      const i = order[j];
      if (matches && matches[i] !== wanted) continue;
      const x = Math.round(places[2 * i] * scale) + left;
      const y = Math.round(-places[2 * i + 1] * scale) + top;
      if (x < reach || x >= right || y < reach || y >= bottom) continue;
      const colour = isOne ? colours : colours[i];
      const redBlue = colour & 0xff00ff;
      const green = colour & 0xff00;
      const at = y * width + x;
      for (let p = 0; p < offsets.length; p++) {
        const below = target[at + offsets[p]];
        const alpha = alphas[p];
        // Two channels at once: each has eight free bits above it.
        const rest = 256 - alpha;
        const rb = (redBlue * alpha + (below & 0xff00ff) * rest) >>> 8 & 0xff00ff;
        const g = (green * alpha + (below & 0xff00) * rest) >>> 8 & 0xff00;
        target[at + offsets[p]] = 0xff000000 | rb | g;
      }
    }
  }

  end() {
    this.context.putImageData(this.image, 0, 0);
  }

  ring(x, y, radius, colour, width) {
    this.context.beginPath();
    this.context.arc(x, y, radius, 0, 2 * Math.PI);
    this.context.strokeStyle = colour;
    this.context.lineWidth = width;
    this.context.stroke();
  }

  cross(x, y, size, colour) {
    this.context.beginPath();
    this.context.moveTo(x - size, y);
    this.context.lineTo(x + size, y);
    this.context.moveTo(x, y - size);
    this.context.lineTo(x, y + size);
    this.context.strokeStyle = colour;
    this.context.lineWidth = 1;
    this.context.stroke();
  }
}
