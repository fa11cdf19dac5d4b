"use strict";
// The page of the latent explorer. Texts from data are set with textContent only.

const $ = (id) => document.getElementById(id);
// Okabe & Ito's colours, which people with any colour vision tell apart; further categories have another symbol.
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "ink", "#F0E442"];
const SYMBOLS = ["circle", "diamond", "square"];
const SHAPES = { circle: "M6 1a5 5 0 1 0 .01 0z", diamond: "M6 0l6 6-6 6-6-6z", square: "M1 1h10v10h-10z" };
const OTHERS = "#8c8c8c";
const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
const dark = matchMedia("(prefers-color-scheme: dark)");

let overview, xy, members = [], traces = [], colouring = null;
let current = null, start = null, end = null, chosen = [], frames = [], timer = null, seed = 0;

// -- requests ----------------------------------------------------------------------------------------------------

async function request(path, options) {
  const response = await fetch(path, options);
  if (response.ok) return response;
  let message = `the server answered ${response.status}`;
  try { message = (await response.json()).error; } catch { /* not JSON */ }
  throw new Error(message);
}
const getJson = async (path, options) => (await request(path, options)).json();

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}
// Run what a control does; an error becomes a sentence on the page.
const guarded = (action) => async (...words) => {
  try { await action(...words); } catch (error) {
    if (error.name !== "AbortError") say(error.message.includes("fetch") ? "The server has ended; start aeframe explore again." : error.message, true);
  }
};
function decodeBase64(text, Type) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Type(bytes.buffer);
}

// -- media -------------------------------------------------------------------------------------------------------

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
function showMedia(media, alt) {
  const box = element("div", { className: "media" });
  for (const medium of media) {
    const source = `data:${medium.mime};base64,${medium.base64}`;
    const kind = medium.mime.split("/")[0];
    if (medium.string !== undefined) box.append(element("p", { textContent: medium.string || "(empty)" }));
    else if (kind === "image") {
      const image = element("img", { alt });
      image.onload = () => image.classList.toggle("small", image.naturalWidth < 150);
      image.src = source;
      box.append(image);
    } else if (kind === "audio" || kind === "video") {
      const player = element(kind, { controls: true, src: source, preload: "metadata" });
      player.setAttribute("aria-label", alt);
      box.append(player);
    }
  }
  return box;
}
const isBroad = (media) => !media.every((medium) => medium.mime === "image/gif" || medium.mime === "video/mp4" || medium.mime === "image/png" && medium.base64.length < 12000);

// -- the map -----------------------------------------------------------------------------------------------------

const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function layout() {
  const axis = (title) => ({
    title: { text: title, font: { size: 12 } }, gridcolor: variable("--line"), zeroline: false, color: variable("--quiet"),
  });
  return {
    margin: { l: 48, r: 8, t: 8, b: 42 }, showlegend: false, hovermode: "closest", hoverdistance: 12, uirevision: "same",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: variable("--text") },
    xaxis: axis(overview.axes[0]), yaxis: axis(overview.axes[1]), shapes: marks(),
    dragmode: $("lasso").getAttribute("aria-pressed") === "true" ? "lasso" : "pan",
  };
}
const size = () => (xy.length > 40000 ? 3 : xy.length > 4000 ? 5 : 8);
const ink = (colour) => (colour === "ink" ? variable("--text") : colour);

function makeTraces() {
  const groups = [];
  if (colouring && colouring.kind === "category") {
    const most = COLOURS.length * SYMBOLS.length;
    colouring.names.forEach((name, number) => {
      if (number < most) groups.push({ name, count: colouring.counts[number], marker: { color: ink(COLOURS[number % COLOURS.length]), symbol: SYMBOLS[Math.floor(number / COLOURS.length)] } });
    });
    if (colouring.names.length > most) groups.push({ name: `${colouring.names.length - most} others`, count: null, marker: { color: OTHERS, symbol: "circle" } });
  } else groups.push({ name: "", marker: { color: COLOURS[0], symbol: "circle" } });
  members = groups.map(() => []);
  for (let at = 0; at < overview.num; at++) {
    members[colouring && colouring.kind === "category" ? Math.min(colouring.values[at], groups.length - 1) : 0].push(at);
  }
  if (colouring && colouring.kind === "number") {
    groups[0].marker = { color: colouring.values, colorscale: CIVIDIS.map((colour, k) => [k / (CIVIDIS.length - 1), colour]), symbol: "circle" };
  }
  traces = groups;
  return groups.map((group, number) => ({
    type: "scattergl", mode: "markers", hoverinfo: "none", name: group.name,
    x: Float32Array.from(members[number], (at) => xy[2 * at]),
    y: Float32Array.from(members[number], (at) => xy[2 * at + 1]),
    marker: { size: size(), opacity: 0.8, ...group.marker },
  }));
}
function showLegend() {
  const items = [];
  if (colouring && colouring.kind === "number") {
    const finite = colouring.values.filter(Number.isFinite);
    const low = finite.reduce((a, b) => Math.min(a, b), Infinity), high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
    const scale = element("span", { className: "scale" });
    scale.style.background = `linear-gradient(90deg, ${CIVIDIS.join(",")})`;
    items.push(element("li", {}, finite.length ? low.toPrecision(4) : "no values", scale, finite.length ? high.toPrecision(4) : ""));
  } else if (colouring) {
    traces.forEach((group, number) => {
      const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      picture.setAttribute("viewBox", "0 0 12 12");
      picture.setAttribute("aria-hidden", "true");
      const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
      shape.setAttribute("d", SHAPES[group.marker.symbol]);
      shape.setAttribute("fill", group.marker.color);
      picture.append(shape);
      const count = group.count === null ? "" : ` (${group.count.toLocaleString("en")})`;
      // Small points of one colour look alike, whatever their symbol: a click hides a category, or shows it again.
      const button = element("button", { className: "category" }, picture, `${group.name || "none"}${count}`);
      button.setAttribute("aria-pressed", "true");
      button.onclick = () => {
        const isShown = button.getAttribute("aria-pressed") === "false";
        button.setAttribute("aria-pressed", String(isShown));
        Plotly.restyle("map", { visible: isShown }, [number]);
      };
      items.push(element("li", {}, button));
    });
  }
  $("legend").replaceChildren(...items);
}
const drawMap = () => Plotly.react("map", makeTraces(), layout(), { scrollZoom: true, displayModeBar: false, responsive: true });

function ring(at, radius, width, dash) {
  return {
    type: "circle", xref: "x", yref: "y", xsizemode: "pixel", ysizemode: "pixel", xanchor: xy[2 * at], yanchor: xy[2 * at + 1],
    x0: -radius, x1: radius, y0: -radius, y1: radius, line: { color: variable("--text"), width, dash },
  };
}
let near = [], pathPoints = null;
function marks() {
  const shapes = near.map((at) => ring(at, 7, 1.5, "dot"));
  if (current !== null) shapes.push(ring(current, 10, 3, "solid"));
  if (pathPoints) {
    const corners = pathPoints.map(([x, y]) => `${x},${y}`).join("L");
    shapes.push({ type: "path", path: `M${corners}`, line: { color: variable("--accent"), width: 3 } });
    const at = pathPoints[Number($("step").value)];
    shapes.push({ type: "circle", xsizemode: "pixel", ysizemode: "pixel", xanchor: at[0], yanchor: at[1], x0: -6, x1: 6, y0: -6, y1: 6, fillcolor: variable("--accent"), line: { width: 0 } });
  }
  return shapes;
}
// Shapes are drawn above the points without computing these again.
const showMarks = () => Plotly.relayout("map", { shapes: marks() });

const colourBy = guarded(async () => {
  const name = $("colour").value;
  colouring = name ? await getJson(`column?name=${encodeURIComponent(name)}`) : null;
  if (colouring) colouring.values = decodeBase64(colouring.values, colouring.kind === "number" ? Float32Array : Int32Array);
  await drawMap();
  showLegend();
});

function setMode(mode) {
  $("pan").setAttribute("aria-pressed", String(mode === "pan"));
  $("lasso").setAttribute("aria-pressed", String(mode === "lasso"));
  Plotly.relayout("map", { dragmode: mode });
}
function choose(positions) {
  chosen = positions;
  $("chosen").textContent = positions.length ? `${positions.length.toLocaleString("en")} points chosen` : "no points chosen";
  for (const button of document.querySelectorAll(".export")) button.disabled = !positions.length;
}
const positionOf = (point) => members[point.curveNumber][point.pointNumber];

// -- hover -------------------------------------------------------------------------------------------------------

let hovered = null, hoverTimer = null, hoverAbort = null;
function hover(event) {
  const at = positionOf(event.points[0]);
  hovered = at;
  clearTimeout(hoverTimer);
  hoverTimer = setTimeout(guarded(async () => {
    hoverAbort?.abort();
    hoverAbort = new AbortController();
    const sample = await getJson(`sample?at=${at}`, { signal: hoverAbort.signal });
    if (hovered !== at) return;
    const tip = $("tip");
    tip.replaceChildren(element("strong", { textContent: sample.title }), showMedia(sample.media, ""));
    tip.hidden = false;
    const { clientX, clientY } = event.event;
    tip.style.left = `${Math.max(4, Math.min(clientX + 16, innerWidth - 275))}px`;
    tip.style.top = clientY > innerHeight / 2 ? "auto" : `${clientY + 14}px`;
    tip.style.bottom = clientY > innerHeight / 2 ? `${innerHeight - clientY + 14}px` : "auto";
  }), 90);
}
function unhover() {
  hovered = null;
  clearTimeout(hoverTimer);
  $("tip").hidden = true;
}

// -- one sample --------------------------------------------------------------------------------------------------

const select = guarded(async (at, announce = true) => {
  current = at;
  near = [];
  showMarks();
  const detail = await getJson(`detail?at=${at}`);
  if (current !== at) return;
  near = detail.neighbours.map((neighbour) => neighbour.at);
  showMarks();
  const columns = element("dl");
  for (const [name, value] of Object.entries(detail.columns)) columns.append(element("dt", { textContent: name }), element("dd", { textContent: value }));
  const broad = isBroad(detail.original);
  const pair = element("div", { className: broad ? "pair broad" : "pair" });
  for (const name of ["original", "reconstruction"]) {
    const box = element("div", { id: name }, element("h3", { textContent: name[0].toUpperCase() + name.slice(1) }), showMedia(detail[name], `${name} of ${detail.title}`));
    pair.append(box);
  }
  const cards = element("div", { className: broad ? "cards broad" : "cards", id: "neighbours" });
  for (const neighbour of detail.neighbours) {
    const text = `${neighbour.title}, distance ${neighbour.distance.toPrecision(3)}`;
    const pictures = neighbour.media.filter((medium) => !/^(audio|video)\//.test(medium.mime));
    const card = element("button", { className: "card", title: text }, showMedia(pictures, ""), element("small", { textContent: neighbour.title }), element("small", { textContent: neighbour.distance.toPrecision(3) }));
    card.setAttribute("aria-label", text);
    card.onclick = () => select(neighbour.at);
    cards.append(card);
  }
  const ends = element("div", { className: "bar" },
    element("button", { textContent: "Start of a path", onclick: () => { start = at; describeEnds(); } }),
    element("button", { textContent: "End of the path", onclick: () => { end = at; describeEnds(); } }));
  $("sample").replaceChildren(element("p", { textContent: detail.title, className: "name" }), columns, pair, ends,
    element("h3", { textContent: detail.neighbours.length ? "Nearest codes (left and right move between them)" : "There is no other sample" }), cards);
  resetSliders();
  if (announce) say(`${detail.title} is shown with its reconstruction and ${detail.neighbours.length} neighbours.`);
});

function moveBetween(list, step) {
  const buttons = [...list.querySelectorAll("button")];
  const next = buttons[buttons.indexOf(document.activeElement) + step];
  if (next) next.focus();
}

// -- keys --------------------------------------------------------------------------------------------------------

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
function ranges() {
  const { xaxis, yaxis } = $("map").layout;
  return [xaxis.range, yaxis.range].map((range) => range.map(Number));
}
// Return the nearest point within 45 degrees of a direction, as distances are on the screen.
function nextPoint(direction) {
  const [[x0, x1], [y0, y1]] = ranges();
  const box = $("map").getBoundingClientRect();
  const scale = [box.width / (x1 - x0), box.height / (y1 - y0)];
  const from = current === null ? [(x0 + x1) / 2, (y0 + y1) / 2] : [xy[2 * current], xy[2 * current + 1]];
  let best = null, least = Infinity;
  for (let at = 0; at < overview.num; at++) {
    if (at === current) continue;
    const dx = (xy[2 * at] - from[0]) * scale[0], dy = (xy[2 * at + 1] - from[1]) * scale[1];
    const along = dx * direction[0] + dy * direction[1], across = Math.abs(dx * direction[1]) + Math.abs(dy * direction[0]);
    const distance = along * along + 4 * across * across;
    if (along > 0 && along >= across && distance < least) { best = at; least = distance; }
  }
  return best;
}
function zoom(factor) {
  const [x, y] = ranges().map(([low, high]) => {
    const middle = (low + high) / 2, half = ((high - low) / 2) * factor;
    return [middle - half, middle + half];
  });
  Plotly.relayout("map", { "xaxis.range": x, "yaxis.range": y });
}
function onMapKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (ARROWS[event.key]) {
    const next = nextPoint(ARROWS[event.key]);
    if (next !== null) select(next);
  } else if (event.key === "+" || event.key === "=") zoom(0.7);
  else if (event.key === "-") zoom(1 / 0.7);
  else if (event.key === "Escape") { choose([]); unhover(); }
  else return;
  event.preventDefault();
}

// -- sliders -----------------------------------------------------------------------------------------------------

let isDecoding = false, isWaiting = false;
const decode = guarded(async () => {
  // One request at a time: of the values that were passed meanwhile only the last is decoded.
  if (isDecoding) { isWaiting = true; return; }
  isDecoding = true;
  try {
    const offsets = [...document.querySelectorAll("#sliders input")].map((input) => Number(input.value));
    const body = JSON.stringify({ base: current, along: $("along").value, offsets });
    const decoded = await getJson("decode", { method: "POST", body });
    $("decoded").replaceChildren(showMedia(decoded.media, "decoded code"));
  } finally {
    isDecoding = false;
    if (isWaiting) { isWaiting = false; decode(); }
  }
});
function makeSliders() {
  if (overview.why_no_sliders) {
    $("sliders").replaceChildren(element("p", { className: "hint", textContent: overview.why_no_sliders }));
    return;
  }
  const along = element("select", { id: "along" });
  along.append(new Option("principal directions", "principal"), new Option("single numbers of the code", "numbers"));
  const rows = element("div", { id: "slider-rows" });
  const fill = () => {
    rows.replaceChildren(...overview.directions[along.value].map((name, number) => {
      const value = element("output", { textContent: "0.0" });
      const input = element("input", { type: "range", min: -4, max: 4, step: 0.1, value: 0, id: `slider-${number}` });
      input.setAttribute("aria-label", `${name}, in standard deviations`);
      input.oninput = () => { value.textContent = Number(input.value).toFixed(1); decode(); };
      return element("label", { className: "slider" }, element("span", { textContent: name }), input, value);
    }));
  };
  along.onchange = () => { fill(); decode(); };
  fill();
  $("sliders").replaceChildren(
    element("div", { className: "bar" }, element("label", {}, "Along ", along), element("button", { textContent: "Reset", onclick: () => { resetSliders(); decode(); } })),
    element("p", { className: "hint", textContent: "In standard deviations from the chosen sample, or from the mean of all codes; percentages are of the variance." }),
    rows, element("h3", { textContent: "Decoded" }), element("div", { id: "decoded" }));
}
function resetSliders() {
  for (const input of document.querySelectorAll("#sliders input")) {
    input.value = 0;
    input.parentElement.querySelector("output").textContent = "0.0";
  }
  $("decoded")?.replaceChildren();
}

// -- path and new samples ----------------------------------------------------------------------------------------

function describeEnds() {
  stop();
  frames = [];
  pathPoints = null;
  $("path").replaceChildren();
  $("step").disabled = true;
  $("play").disabled = start === null || end === null;
  const name = (at) => (at === null ? "not chosen" : `point ${at}`);
  $("path-ends").textContent = `From: ${name(start)}. To: ${name(end)}.`;
  showMarks();
}
function showStep() {
  const step = Number($("step").value);
  $("path").replaceChildren(showMedia(frames[step], `step ${step + 1} of ${frames.length}`));
  if (pathPoints) showMarks();
}
function stop() {
  clearInterval(timer);
  timer = null;
  $("play").textContent = "Play";
}
const play = guarded(async () => {
  if (timer) { stop(); return; }
  const step = $("step");
  if (!frames.length) {
    const path = await getJson(`path?from=${start}&to=${end}&steps=12`);
    frames = path.frames;
    pathPoints = path.points;
    step.max = frames.length - 1;
    step.value = 0;
    step.disabled = false;
  } else if (Number(step.value) === frames.length - 1) step.value = 0;
  $("play").textContent = "Pause";
  showStep();
  timer = setInterval(() => {
    if (Number(step.value) === frames.length - 1) { stop(); return; }
    step.value = Number(step.value) + 1;
    showStep();
  }, 350);
});
const draw = guarded(async () => {
  const like = current === null ? "" : current;
  const { samples } = await getJson(`samples?num=8&seed=${seed++}&like=${like}`);
  $("new").className = isBroad(samples[0]) ? "cards broad" : "cards";
  $("new").replaceChildren(...samples.map((media, number) => element("div", { className: "card" }, showMedia(media, `new sample ${number + 1}`))));
  say(`${samples.length} new samples are shown.`);
});
const exportRows = guarded(async (suffix) => {
  const response = await request(`export?suffix=${suffix}`, { method: "POST", body: JSON.stringify(chosen) });
  const address = URL.createObjectURL(await response.blob());
  element("a", { href: address, download: `points${suffix}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  say(`${chosen.length} rows were exported.`);
});

// -- start -------------------------------------------------------------------------------------------------------

guarded(async () => {
  const [info, points] = await Promise.all([getJson("overview"), request("points").then((response) => response.arrayBuffer())]);
  overview = info;
  xy = new Float32Array(points);
  const subset = info.num < info.of ? ` (a random subset of ${info.of.toLocaleString("en")})` : "";
  document.title = `aeframe explore: ${info.model}`;
  $("title").textContent = `Latent explorer: ${info.model}`;
  $("summary").textContent = `${info.num.toLocaleString("en")} samples${subset}`;
  $("colour").append(new Option("one colour", ""), ...info.columns.map((name) => new Option(name, name)));
  $("colour").value = info.colour ?? "";
  makeSliders();
  await colourBy();
  const map = $("map");
  map.on("plotly_hover", hover);
  map.on("plotly_unhover", unhover);
  map.on("plotly_click", (event) => { unhover(); select(positionOf(event.points[0])); });
  map.on("plotly_selected", (event) => choose(event ? event.points.map(positionOf) : []));
  map.on("plotly_deselect", () => choose([]));
  map.addEventListener("keydown", onMapKey);
  $("colour").onchange = colourBy;
  $("pan").onclick = () => setMode("pan");
  $("lasso").onclick = () => setMode("lasso");
  $("reset").onclick = () => Plotly.relayout("map", { "xaxis.autorange": true, "yaxis.autorange": true });
  $("play").onclick = play;
  $("draw").onclick = draw;
  $("step").oninput = () => { stop(); showStep(); };
  for (const button of document.querySelectorAll(".export")) button.onclick = () => exportRows(button.dataset.suffix);
  $("sample").addEventListener("keydown", (event) => {
    const list = $("neighbours");
    if (!list?.contains(document.activeElement) || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    moveBetween(list, event.key === "ArrowLeft" ? -1 : 1);
    event.preventDefault();
  });
  dark.addEventListener("change", () => { drawMap(); showLegend(); });
  document.body.dataset.ready = "true";
})();
