// What gives points their colour, and the legend that says so.
const isDark = matchMedia("(prefers-color-scheme: dark)");
const NO_VALUE = FACTS.maxClasses + 1;

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function shortNumber(value) {
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
}

class Colours {
  // onChange: points have other colours, or other classes are shown.
  constructor(legend, onChange) {
    this.legend = legend;
    this.onChange = onChange;
    this.column = null;
    this.only = -1;
    isDark.addEventListener("change", () => this.column && this.refresh());
  }

  async choose(number) {
    this.wanted = number;
    const data = await load(`column-${number}`);
    if (this.wanted !== number) return; // another one was chosen meanwhile
    const { isClasses, name } = FACTS.columns[number];
    this.column = {
      ...data,
      name,
      isClasses,
      codes: isClasses ? new Uint8Array(buffer(data.codes)) : null,
      values: isClasses ? null : new Float32Array(buffer(data.values)),
    };
    this.only = -1;
    this.refresh();
  }

  refresh() {
    const theme = isDark.matches ? "dark" : "light";
    const style = getComputedStyle(document.documentElement);
    this.unset = style.getPropertyValue("--none").trim();
    this.others = style.getPropertyValue("--others").trim();
    this.palette = FACTS.palettes[theme];
    this.scale = FACTS.scales[theme];
    this.legend.replaceChildren(
      element("p", this.column.name, "name"),
      ...(this.column.isClasses ? this.classes() : this.numbers()),
    );
    this.onChange();
  }

  // Pixels of all points.
  pixels() {
    const { isClasses, codes, values, low, high } = this.column;
    const unset = pixelOf(this.unset);
    if (isClasses) {
      const table = [...this.palette.map(pixelOf), pixelOf(this.others), unset];
      return Uint32Array.from(codes, code => table[code]);
    }
    const table = this.scale.map(pixelOf);
    const steps = table.length / (high - low || 1);
    return Uint32Array.from(values, value => {
      if (Number.isNaN(value)) return unset;
      return table[Math.max(0, Math.min(table.length - 1, Math.floor((value - low) * steps)))];
    });
  }

  isShown(index) {
    return this.only < 0 || this.column.codes[index] === this.only;
  }

  classes() {
    const { labels, counts, nOthers } = this.column;
    const entries = labels.map((label, code) => this.entry(label, code, this.palette[code], counts[code]));
    const [inOthers, without] = counts.slice(-2);
    if (nOthers) {
      entries.push(this.entry(`${nOthers} others`, FACTS.maxClasses, this.others, inOthers));
    }
    if (without) entries.push(this.entry("no value", NO_VALUE, this.unset, without));
    return entries;
  }

  // A button: shows this class alone, then all again.
  entry(label, code, colour, count) {
    const button = element("button");
    const dot = element("i");
    dot.style.background = colour;
    button.type = "button";
    button.ariaPressed = String(this.only === code);
    button.append(dot, element("span", label), element("span", count.toLocaleString("en"), "n"));
    button.addEventListener("click", () => {
      this.only = this.only === code ? -1 : code;
      for (const other of this.legend.querySelectorAll("button")) {
        other.ariaPressed = String(other === button && this.only === code);
      }
      this.onChange();
    });
    return button;
  }

  numbers() {
    const { low, high, least, greatest, values } = this.column;
    const bar = document.createElement("canvas");
    [bar.width, bar.height] = [this.scale.length, 1];
    const context = bar.getContext("2d");
    this.scale.forEach((colour, step) => {
      context.fillStyle = colour;
      context.fillRect(step, 0, 1, 1);
    });
    bar.ariaHidden = "true";
    const ends = element("p", "", "ends");
    ends.append(
      element("span", (least < low ? "≤ " : "") + shortNumber(low)),
      element("span", (greatest > high ? "≥ " : "") + shortNumber(high)),
    );
    const parts = [bar, ends];
    if (values.some(Number.isNaN)) {
      const dot = element("i");
      dot.style.background = this.unset;
      const line = element("span", "", "unset");
      line.append(dot, element("span", " no value"));
      parts.push(line);
    }
    return parts;
  }
}
