// Progressive enhancement of charts: draws Vega-Lite specifications when they come into view, and moves the threshold of
// a confusion matrix. Without it the tables show the same figures. Expressions are interpreted, never evaluated.
"use strict";

(() => {
const libraries = document.currentScript.dataset.libraries.split(" ");
const dark = matchMedia("(prefers-color-scheme: dark)");
const views = new Map(); // place -> view
const TEXTS = new Set(["data", "domain", "title", "field"]); // not colours, whatever they are
let loaded = null;

function load() {
  loaded ??= libraries.reduce((before, source) => before.then(() => new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = source;
    script.onload = done;
    script.onerror = () => failed(new Error(`cannot load ${source}`));
    document.head.append(script);
  })), Promise.resolve());
  return loaded;
}

// ---- colours by their names in console.css

function coloured(value, style) {
  if (typeof value === "string") return value.startsWith("--") ? style.getPropertyValue(value).trim() || value : value;
  if (Array.isArray(value)) return value.map((one) => coloured(one, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) =>
    [name, TEXTS.has(name) ? one : coloured(one, style)]));
}

function config(style) {
  const font = style.getPropertyValue("--sans").trim(), text = { labelFontSize: 12, titleFontSize: 12, labelColor: "--quiet", titleColor: "--quiet" };
  return coloured({
    background: null, font, view: { stroke: null },
    axis: { ...text, titleFontWeight: 400, gridColor: "--line", domainColor: "--line", tickColor: "--line" },
    axisQuantitative: { tickCount: 5, labelFlush: true, labelOverlap: true },
    axisX: { labelSeparation: 8 },
    axisTemporal: { tickCount: 4, labelFlush: true, labelOverlap: true },
    legend: { ...text, titleFontWeight: 400, labelLimit: 240 },
  }, style);
}

async function draw(place) {
  try {
    await load();
    if (!place.isConnected) return;
    const style = getComputedStyle(document.documentElement);
    const spec = coloured(JSON.parse(place.dataset.spec), style);
    const compiled = vegaLite.compile(spec, { config: config(style) }).spec;
    views.get(place)?.finalize();
    const view = new vega.View(vega.parse(compiled, null, { ast: true }),
      { expr: vegaInterpreter.expressionInterpreter, renderer: "svg", container: place, hover: true, logLevel: vega.Error });
    views.set(place, view);
    await view.runAsync();
    follow(place);
  } catch (problem) {
    console.error(problem);
    place.hidden = true;
    const table = place.parentElement.querySelector("details");
    if (table) table.open = true;
  }
}

const watch = new IntersectionObserver((seen) => {
  for (const one of seen) if (one.isIntersecting) {
    watch.unobserve(one.target);
    draw(one.target);
  }
}, { rootMargin: "400px" });

dark.addEventListener("change", () => {
  for (const place of views.keys()) draw(place);
});

// ---- the threshold of a confusion matrix; charts with a parameter `threshold_place` show it too

function ratio(part, whole) {
  const percent = 100 * part / whole;
  return whole === 0 ? "–" : `${percent.toFixed(1).replace(/\.0$/, "")}%`;
}

function move(box) {
  const slider = box.querySelector("input[type=range]"), own = slider.value === slider.dataset.own;
  const [threshold, ...counts] = JSON.parse(box.dataset.rows)[slider.value];
  const [tp, fp, fn, tn] = counts;
  box.querySelector("output").textContent = threshold.toFixed(3);
  slider.setAttribute("aria-valuetext", threshold.toFixed(3));
  for (const cell of box.querySelectorAll("[data-count]"))
    cell.textContent = counts[cell.dataset.count - 1].toLocaleString("en");
  const metrics = {
    precision: ratio(tp, tp + fp), recall: ratio(tp, tp + fn), specificity: ratio(tn, tn + fp),
    accuracy: ratio(tp + tn, tp + fp + fn + tn),
  };
  for (const cell of box.querySelectorAll("[data-metric]")) cell.textContent = metrics[cell.dataset.metric];
  box.querySelector(".own").hidden = !own;
  box.querySelector(".reset").hidden = own;
  for (const place of views.keys()) follow(place);
}

function follow(place) {
  const slider = document.querySelector(".threshold input[type=range]"), view = views.get(place);
  if (slider && place.dataset.spec.includes('"threshold_place"')) view.signal("threshold_place", Number(slider.value)).runAsync();
}

document.addEventListener("input", (event) => {
  const box = event.target.closest(".threshold");
  if (box) move(box);
});
document.addEventListener("click", (event) => {
  const box = event.target.closest(".reset")?.closest(".threshold");
  if (!box) return;
  const slider = box.querySelector("input[type=range]");
  slider.value = slider.dataset.own;
  move(box);
});

// ---- a page, or its replacement by console.js

function ready(root) {
  const drawn = new Map([...views.keys()].filter((place) => !place.isConnected).map((place) => [place.dataset.spec, place]));
  for (const place of root.querySelectorAll(".drawn[data-spec]")) {
    const same = drawn.get(place.dataset.spec);
    if (same) { // the same chart, already drawn
      drawn.delete(place.dataset.spec);
      place.replaceWith(same);
      follow(same);
      continue;
    }
    place.hidden = false;
    place.style.minHeight = `${place.dataset.height}px`; // the page does not move when the chart is drawn
    watch.observe(place);
  }
  for (const place of drawn.values()) {
    views.get(place).finalize();
    views.delete(place);
  }
  for (const table of root.querySelectorAll(".vega > details[open], .threshold > details[open]")) table.open = false;
  for (const slider of root.querySelectorAll(".slider")) slider.hidden = false;
}

document.addEventListener("replaced", (event) => ready(event.target));
ready(document);
})();
