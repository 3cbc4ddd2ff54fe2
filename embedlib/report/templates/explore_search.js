// Search over ids: all words must occur, whatever their case.
const MOST_RESULTS = 50;

class Search {
  // onChange(matches): one byte for each track, or null where nothing is searched.
  constructor(ids, onPick, onChange) {
    this.ids = ids;
    this.folded = ids.map(id => id.toLowerCase());
    this.onPick = onPick;
    this.onChange = onChange;
    this.query = document.getElementById("query");
    this.query.addEventListener("input", () => this.run());
    this.query.addEventListener("keydown", event => this.key(event));
    document.addEventListener("keydown", event => this.jump(event));
    this.query.form.addEventListener("submit", event => event.preventDefault());
  }

  run() {
    const words = this.query.value.toLowerCase().split(/\s+/).filter(Boolean);
    document.getElementById("results").hidden = words.length === 0;
    this.found = [];
    if (words.length === 0) {
      this.onChange(null);
      return;
    }
    const matches = new Uint8Array(this.ids.length);
    for (let i = 0; i < matches.length; i++) {
      if (!words.every(word => this.folded[i].includes(word))) continue;
      matches[i] = 1;
      this.found.push(i);
    }
    this.list();
    this.onChange(matches);
  }

  list() {
    const n = this.found.length;
    const total = this.ids.length.toLocaleString("en");
    const first = n > MOST_RESULTS ? `; the first ${MOST_RESULTS}` : "";
    document.getElementById("count").textContent = `${n.toLocaleString("en")} of ${total}${first}`;
    document.getElementById("found").replaceChildren(
      ...this.found.slice(0, MOST_RESULTS)
        .map(index => pickLine(this.ids[index], () => this.onPick(index))),
    );
  }

  key(event) {
    if (event.key === "Enter" && this.found?.length) this.onPick(this.found[0]);
    if (event.key === "Escape") {
      event.preventDefault();
      this.query.value = "";
      this.run();
    }
  }

  jump(event) {
    const isTyping = event.target.matches("input, select, textarea");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.query.focus();
    this.query.select();
  }
}
