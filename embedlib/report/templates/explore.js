// Puts the parts together.
const note = document.getElementById("note");
const page = { map: null, colours: null, track: null, search: null, matches: null };

function applyFilters() {
  const { map, colours, matches } = page;
  const isFiltered = matches || colours.only >= 0;
  map.shown = isFiltered
    ? Uint8Array.from({ length: FACTS.n }, (_, i) =>
      Number((!matches || matches[i] === 1) && colours.isShown(i)))
    : null;
  map.draw();
}

async function pick(index, isFromList) {
  const { map, track } = page;
  [map.selected, map.near] = [index, []];
  map.draw();
  if (index < 0) {
    track.hide();
    return;
  }
  const near = await track.show(index);
  if (near === null) return;
  map.near = near;
  if (isFromList) {
    map.bringIn(index);
    document.getElementById("title").focus({ preventScroll: false });
  }
  map.draw();
}

function showTip(ids, index, left, top) {
  const tip = document.getElementById("tip");
  tip.hidden = index < 0;
  if (index < 0) return;
  tip.textContent = ids[index];
  const isRight = left > page.map.width / 2;
  const x = isRight ? `calc(${left - 14}px - 100%)` : `${left + 14}px`;
  tip.style.transform = `translate(${x}, ${Math.max(0, top - 34)}px)`;
}

function complain(error) {
  note.textContent = error.message;
}

async function loadIds() {
  const ids = [];
  for (const name of namesOf("ids")) {
    ids.push(...await load(name));
    note.textContent = `Loading: ${ids.length.toLocaleString("en")} of ${FACTS.n.toLocaleString("en")}`;
  }
  return ids;
}

async function start() {
  const places = new Float32Array(buffer(await load("points")));
  const ids = await loadIds();
  const map = new PointMap(document.getElementById("map"), places);
  const fromList = index => pick(index, true).catch(complain);
  page.map = map;
  map.onPick = index => pick(index, false).catch(complain);
  map.onHover = (index, left, top) => showTip(ids, index, left, top);
  page.track = new TrackPanel(index => ids[index], fromList);
  page.colours = new Colours(document.getElementById("legend"), () => {
    map.colours = page.colours.pixels();
    applyFilters();
  });
  page.search = new Search(ids, fromList, matches => {
    page.matches = matches;
    applyFilters();
  });
  const select = document.getElementById("colour");
  const recolour = () => page.colours.choose(Number(select.value)).catch(complain);
  select.addEventListener("change", recolour);
  if (FACTS.columns.length) await recolour();
  document.getElementById("closer").addEventListener("click", () => map.zoomBy(ZOOM_STEP));
  document.getElementById("farther").addEventListener("click", () => map.zoomBy(1 / ZOOM_STEP));
  document.getElementById("whole").addEventListener("click", () => map.whole());
  page.search.run(); // browsers keep what was typed when a page is loaded again
  note.textContent = "";
}

start().catch(complain);
