// What is known of the selected track: how it sounds, what is near, facts.
class TrackPanel {
  constructor(idOf, onPick) {
    this.idOf = idOf;
    this.onPick = onPick;
    this.audio = document.getElementById("audio");
    this.silent = document.getElementById("silent");
    this.audio.addEventListener("error", () => {
      if (this.audio.hasAttribute("src")) this.say(`Not reachable from here: ${this.source}`);
    });
  }

  hide() {
    this.current = -1;
    this.play("", "");
    document.getElementById("track").hidden = true;
  }

  // Rows of the neighbours, once they are loaded; nothing if another track was picked meanwhile.
  async show(index) {
    this.current = index;
    const file = Math.floor(index / FACTS.tracksPerFile);
    const data = await load(`tracks-${file}`);
    if (this.current !== index) return null;
    const row = index - file * FACTS.tracksPerFile;
    const facts = FACTS.factNames.map((name, column) => [name, data.facts[column][row]]);
    document.getElementById("track").hidden = false;
    document.getElementById("title").textContent = this.idOf(index);
    document.getElementById("facts-of-track").replaceChildren(...facts.flatMap(factLine));
    this.play(data.audio[row], String(new Map(facts).get("uri")));
    return this.listNeighbours(data, row);
  }

  play(url, source) {
    this.source = source;
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.hidden = !url;
    this.silent.hidden = true;
    // A local file tells at once whether it is there; the network waits until it is asked for.
    this.audio.preload = url.startsWith("file:") ? "metadata" : "none";
    if (url) this.audio.src = url;
    else if (source) this.say(`A browser cannot open ${source}`);
    this.audio.load();
  }

  say(text) {
    this.audio.hidden = true;
    this.silent.textContent = text;
    this.silent.hidden = false;
  }

  listNeighbours(data, row) {
    const [start, end] = [row * FACTS.k, (row + 1) * FACTS.k];
    const near = new Int32Array(buffer(data.index)).slice(start, end);
    const distances = new Float32Array(buffer(data.distance)).slice(start, end);
    const lines = Array.from(near, (index, rank) => {
      const distance = element("span", distances[rank].toFixed(4));
      return pickLine(this.idOf(index), () => this.onPick(index), distance);
    });
    document.getElementById("nearest").hidden = near.length === 0;
    document.getElementById("neighbours").replaceChildren(...lines);
    return near;
  }
}

function factLine([name, value]) {
  if (value === null || value === "") return [];
  return [element("dt", name), element("dd", factText(value))];
}

function factText(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number" && !Number.isInteger(value)) return shortNumber(value);
  return String(value);
}

// A line of a list that is a button; names from data are text, never markup.
function pickLine(text, onPick, ...more) {
  const line = element("li");
  const button = element("button");
  button.type = "button";
  button.append(element("span", text), ...more);
  button.addEventListener("click", onPick);
  line.append(button);
  return line;
}
