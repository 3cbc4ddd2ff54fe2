// The map: what of it is in the window, how it moves, and which point is under a place.
const STEP_PX = 60;
const ZOOM_STEP = 1.4;
const MOST_ZOOM = 500;
const PICK_PX = { mouse: 10, pen: 14, touch: 22 };
const CLICK_SLOP_PX = 5;

// How far points lie from the middle, to either side.
function reachOf(places) {
  const reach = [0.05, 0.05];
  for (let i = 0; i < places.length; i++) reach[i % 2] = Math.max(reach[i % 2], Math.abs(places[i]));
  return reach;
}

class PointMap {
  constructor(canvas, places) {
    this.canvas = canvas;
    this.places = places;
    this.grid = new Grid(places);
    this.painter = new Painter(canvas, places);
    this.colours = new Uint32Array(places.length / 2);
    this.shown = null; // or 1 for each point that a filter lets through
    this.selected = -1;
    this.near = [];
    this.hovered = -1;
    this.pointers = new Map();
    this.onPick = () => {};
    this.onHover = () => {};
    this.isDue = false;
    this.reach = reachOf(places);
    // Many points are small ones, so that they do not become one blot.
    this.smallest = Math.max(1.3, Math.min(5, 30 / Math.cbrt(places.length / 2)));
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.listen();
    this.resize();
  }

  resize() {
    const isFirst = this.width === undefined;
    const box = this.canvas.getBoundingClientRect();
    [this.width, this.height] = [Math.max(1, box.width), Math.max(1, box.height)];
    // Beyond two, pixels cost time and nobody sees them.
    this.ratio = Math.min(2, devicePixelRatio || 1);
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    this.painter.resize(this.canvas.width, this.canvas.height);
    if (isFirst) this.whole();
    this.paint(); // at once: a canvas that gets a size is blank
  }

  // Scale at which all points are in the window.
  get fitting() {
    const [wide, high] = this.reach;
    return 0.92 * Math.min(this.width / 2 / wide, this.height / 2 / high);
  }

  whole() {
    [this.scale, this.x, this.y] = [this.fitting, 0, 0];
    this.draw();
  }

  // Window pixels of a point, from the upper left corner of the map.
  toWindow(index) {
    return [
      this.width / 2 + (this.places[2 * index] - this.x) * this.scale,
      this.height / 2 - (this.places[2 * index + 1] - this.y) * this.scale,
    ];
  }

  toMap(left, top) {
    return [
      this.x + (left - this.width / 2) / this.scale,
      this.y - (top - this.height / 2) / this.scale,
    ];
  }

  moveBy(dx, dy) {
    this.x = Math.max(-1.1, Math.min(1.1, this.x - dx / this.scale));
    this.y = Math.max(-1.1, Math.min(1.1, this.y + dy / this.scale));
    this.draw();
  }

  // What lies at the given pixel stays there.
  zoomBy(factor, left = this.width / 2, top = this.height / 2) {
    const [x, y] = this.toMap(left, top);
    const { fitting } = this;
    this.scale = Math.max(0.5 * fitting, Math.min(MOST_ZOOM * fitting, this.scale * factor));
    const [newX, newY] = this.toMap(left, top);
    [this.x, this.y] = [this.x + x - newX, this.y + y - newY];
    this.moveBy(0, 0);
  }

  bringIn(index) {
    const [left, top] = this.toWindow(index);
    const margin = 30;
    if (left < margin || left > this.width - margin || top < margin || top > this.height - margin) {
      [this.x, this.y] = [this.places[2 * index], this.places[2 * index + 1]];
    }
    this.draw();
  }

  isShown(index) {
    return !this.shown || this.shown[index] === 1;
  }

  at(left, top, reachPx) {
    const [x, y] = this.toMap(left, top);
    return this.grid.nearest(x, y, reachPx / this.scale, index => this.isShown(index));
  }

  inTheMiddle() {
    for (let reach = 8; reach < 2 * (this.width + this.height); reach *= 2) {
      const found = this.at(this.width / 2, this.height / 2, reach);
      if (found >= 0) return found;
    }
    return -1;
  }

  draw() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.paint();
    });
  }

  paint() {
    const style = getComputedStyle(this.canvas);
    const colour = name => style.getPropertyValue(name).trim();
    const { ratio, painter } = this;
    const scale = this.scale * ratio;
    // Whole pixels, so that points do not tremble against each other while the map moves.
    const view = {
      scale,
      left: Math.round(this.canvas.width / 2 - this.x * scale),
      top: Math.round(this.canvas.height / 2 + this.y * scale),
    };
    painter.begin(pixelOf(colour("--ground")));
    const radius = this.radius * ratio;
    if (this.shown) {
      painter.points(view, radius, pixelOf(colour("--dim")), this.shown, 0);
    }
    painter.points(view, radius, this.colours, this.shown, 1);
    painter.end();
    this.paintMarks(colour("--ink"), colour("--accent"));
  }

  get radius() {
    return this.smallest * Math.max(1, Math.min(3, Math.cbrt(this.scale / this.fitting)));
  }

  paintMarks(ink, accent) {
    const { ratio, painter, radius } = this;
    const ring = (index, extra, colour, width) => {
      const [left, top] = this.toWindow(index);
      painter.ring(left * ratio, top * ratio, (radius + extra) * ratio, colour, width * ratio);
    };
    for (const index of this.near) ring(index, 2, ink, 1);
    if (this.hovered >= 0) ring(this.hovered, 3, accent, 2);
    if (this.selected >= 0) {
      ring(this.selected, 4, accent, 3);
      ring(this.selected, 6.5, ink, 1);
    }
    if (this.canvas.matches(":focus-visible")) {
      painter.cross(this.canvas.width / 2, this.canvas.height / 2, 8 * ratio, ink);
    }
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", event => this.press(event));
    canvas.addEventListener("pointermove", event => this.move(event));
    canvas.addEventListener("pointerup", event => this.release(event));
    canvas.addEventListener("pointercancel", event => this.pointers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => this.hover(-1));
    canvas.addEventListener("wheel", event => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      this.zoomBy(Math.exp(-event.deltaY * lines / 300), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("keydown", event => this.key(event));
    for (const change of ["focus", "blur"]) canvas.addEventListener(change, () => this.draw());
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    const [left, top] = [event.offsetX, event.offsetY];
    this.pointers.set(event.pointerId, { left, top, startLeft: left, startTop: top });
    this.isClick = this.pointers.size === 1;
  }

  move(event) {
    const held = this.pointers.get(event.pointerId);
    const [left, top] = [event.offsetX, event.offsetY];
    if (!held) {
      this.hover(this.at(left, top, PICK_PX.mouse), left, top);
      return;
    }
    if (Math.hypot(left - held.startLeft, top - held.startTop) > CLICK_SLOP_PX) this.isClick = false;
    const others = [...this.pointers.values()].filter(pointer => pointer !== held);
    const [dx, dy] = [left - held.left, top - held.top];
    if (others.length) this.pinch(held, others[0], left, top);
    else if (!this.isClick) this.moveBy(dx, dy);
    [held.left, held.top] = [left, top];
  }

  // The other finger stands still while one moves.
  pinch(held, other, left, top) {
    const before = Math.hypot(held.left - other.left, held.top - other.top);
    const after = Math.hypot(left - other.left, top - other.top);
    if (before > 0 && after > 0) this.zoomBy(after / before, other.left, other.top);
  }

  release(event) {
    const held = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (!held || !this.isClick) return;
    const reach = PICK_PX[event.pointerType] ?? PICK_PX.mouse;
    const found = this.at(event.offsetX, event.offsetY, reach);
    if (found >= 0) this.onPick(found);
  }

  hover(index, left = 0, top = 0) {
    if (index === this.hovered) return;
    this.hovered = index;
    this.onHover(index, left, top);
    this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      ArrowLeft: () => this.moveBy(STEP_PX, 0),
      ArrowRight: () => this.moveBy(-STEP_PX, 0),
      ArrowUp: () => this.moveBy(0, STEP_PX),
      ArrowDown: () => this.moveBy(0, -STEP_PX),
      "+": () => this.zoomBy(ZOOM_STEP),
      "=": () => this.zoomBy(ZOOM_STEP),
      "-": () => this.zoomBy(1 / ZOOM_STEP),
      0: () => this.whole(),
      Enter: () => {
        const found = this.inTheMiddle();
        if (found >= 0) this.onPick(found);
      },
      Escape: () => this.onPick(-1),
    };
    if (!Object.hasOwn(actions, event.key)) return;
    event.preventDefault();
    actions[event.key]();
  }
}
