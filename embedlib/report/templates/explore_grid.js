// Finds the point nearest to a place. Points are sorted into square cells over the map.
class Grid {
  constructor(places) {
    this.places = places;
    const n = places.length / 2;
    this.side = Math.max(1, Math.min(512, Math.floor(Math.sqrt(n / 2))));
    this.starts = new Int32Array(this.side * this.side + 1);
    const cells = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      cells[i] = this.cell(places[2 * i]) + this.side * this.cell(places[2 * i + 1]);
      this.starts[cells[i] + 1]++;
    }
    for (let c = 0; c < this.side * this.side; c++) this.starts[c + 1] += this.starts[c];
    this.members = new Int32Array(n);
    const next = this.starts.slice();
    for (let i = 0; i < n; i++) this.members[next[cells[i]]++] = i;
  }

  // Places lie between -1 and 1.
  cell(coordinate) {
    return Math.max(0, Math.min(this.side - 1, Math.floor((coordinate + 1) / 2 * this.side)));
  }

  // Index of the nearest point within reach that is shown, or -1.
  nearest(x, y, reach, isShown) {
    let [best, found] = [reach * reach, -1];
    const right = this.cell(x + reach);
    for (let row = this.cell(y - reach); row <= this.cell(y + reach); row++) {
      const first = row * this.side + this.cell(x - reach);
      const end = this.starts[row * this.side + right + 1];
      for (let m = this.starts[first]; m < end; m++) {
        const i = this.members[m];
        const dx = this.places[2 * i] - x;
        const dy = this.places[2 * i + 1] - y;
        if (dx * dx + dy * dy <= best && isShown(i)) {
          best = dx * dx + dy * dy;
          found = i;
        }
      }
    }
    return found;
  }
}
