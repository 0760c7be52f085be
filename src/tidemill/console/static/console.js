// Progressive enhancement; every page works without it: copy a command, refresh the page while it is open, select
// runs to compare, sort the trials of a search, and highlight one of them.
"use strict";

const EVERY_MS = 5000, LIVE_MS = 2000, MOST = 8;
const chosen = new Set(), sorted = new Map();

function ready(root) {
  for (const one of root.querySelectorAll("button.copy, .pick input, .search-runs")) one.hidden = false;
  for (const box of root.querySelectorAll(".pick input")) box.checked = chosen.has(box.value);
  for (const table of root.querySelectorAll("table[data-sort]")) sortable(table);
}

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(code); // no clipboard access: select the text, so that one key copies it
    button.textContent = "selected";
    return;
  }
  button.blur();
  setTimeout(() => { button.textContent = "copy"; }, 1500);
}

// ---- runs to compare: the older ones first, so that newer runs are compared with them

function choose(box) {
  if (box.checked) chosen.add(box.value); else chosen.delete(box.value);
  updateSelection();
}

function updateSelection() {
  const bar = document.querySelector(".chosen"), link = bar.querySelector("a");
  const keys = [...chosen].sort((one, other) => number(one) - number(other));
  bar.hidden = keys.length === 0;
  bar.querySelector("span").textContent = keys.length === 1 ? "1 run selected; select one more to compare"
    : keys.length > MOST ? `${keys.length} runs selected; at most ${MOST} can be compared` : `${keys.length} runs selected`;
  link.hidden = keys.length < 2 || keys.length > MOST;
  link.href = "/runs/compare?" + keys.map((key) => "run=" + encodeURIComponent(key)).join("&");
}

function number(key) { return Number(key.slice(key.lastIndexOf(".") + 1)); }

// ---- search runs for a text, when Enter is pressed or the field is left

function search(field) {
  const address = new URL(field.dataset.search, location.href);
  if (field.value.trim()) address.searchParams.set("text", field.value.trim());
  location.assign(address);
}

// ---- sort a table by the column whose header is clicked

function sortable(table) {
  for (const [place, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = document.createElement("button");
    button.className = "sort";
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", (event) => {
      if (event.detail) button.blur(); // clicked with a pointer: the page may continue to refresh
      const [was, down] = sorted.get(table.dataset.sort) || [];
      sort(table, place, was === place ? !down : true);
    });
    head.append(button);
  }
  if (sorted.has(table.dataset.sort)) sort(table, ...sorted.get(table.dataset.sort));
}

function sort(table, place, down) {
  sorted.set(table.dataset.sort, [place, down]);
  const body = table.tBodies[0], way = down ? -1 : 1;
  const by = (row) => row.cells[place].dataset.by ?? row.cells[place].textContent.trim();
  const rows = [...body.rows].map((row) => [by(row), row]);
  rows.sort(([one], [other]) => {
    if (one === "" || other === "") return (one === "") - (other === ""); // rows without a value stay at the end
    const a = Number(one), b = Number(other);
    return way * (Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other) : a - b);
  });
  body.append(...rows.map(([, row]) => row));
  for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
  table.tHead.rows[0].cells[place].setAttribute("aria-sort", down ? "descending" : "ascending");
}

// ---- one trial, in the drawing and in the table

function point(at) {
  const trial = at instanceof Element ? at.closest("[data-trial]") : null;
  const section = trial ? trial.closest("section") : document.querySelector(".lit-one");
  if (!section || (trial && trial.classList.contains("lit"))) return;
  for (const one of section.querySelectorAll(".lit")) one.classList.remove("lit");
  section.classList.toggle("lit-one", trial !== null);
  if (!trial) return;
  const same = section.querySelectorAll(`[data-trial="${trial.dataset.trial}"]`);
  for (const one of same) one.classList.add("lit");
  const title = section.querySelector(`.thread[data-trial="${trial.dataset.trial}"] title`);
  const readout = section.querySelector(".readout");
  if (readout && title) readout.textContent = title.textContent;
  else if (readout) readout.textContent = `Trial ${trial.dataset.trial} is not drawn.`;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (button) copy(button);
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-search]")) search(event.target);
  if (event.target.matches(".pick input")) choose(event.target);
});
document.addEventListener("pointerover", (event) => point(event.target));

// ---- refresh: the live part from its own URL if there is one, else the whole page

let tag = null, at = 0, stale = false;

function busy(part) {
  const active = document.activeElement, typing = part.contains(active) && !active.matches(".pick input");
  return document.hidden || !getSelection().isCollapsed || typing || part.querySelector("details[open], .lit");
}

async function follow() {
  const live = document.querySelector("main [data-live]"), part = live || document.querySelector("main");
  if (!live && !stale && document.querySelector("main [data-still]")) return; // a run that has ended does not change
  if (busy(part) || Date.now() - at < (live || stale ? LIVE_MS : EVERY_MS) - 200) return;
  at = Date.now();
  const lost = document.querySelector(".lost");
  try {
    const answer = await fetch(live ? live.dataset.live : location.pathname + location.search, { cache: "no-cache" });
    const found = answer.headers.get("etag"), known = tag !== null || live || stale;
    lost.hidden = true;
    if (!answer.ok || found === tag) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (known && busy(part)) return;
    if (known) replace(part, fresh, live);
    tag = found;
  } catch {
    lost.hidden = false;
  }
}

function replace(part, fresh, live) {
  const box = document.activeElement.matches(".pick input") ? document.activeElement.value : null;
  const whole = fresh.querySelector("main"), found = live ? (whole || fresh.body).firstElementChild : whole;
  const made = document.adoptNode(found);
  ready(made);
  part.replaceWith(made);
  made.dispatchEvent(new Event("replaced", { bubbles: true }));
  stale = Boolean(live) && !made.dataset.live; // it has ended: refresh the rest of the page once
  if (whole) document.title = fresh.title;
  if (chosen.size) updateSelection();
  if (box !== null) [...document.querySelectorAll(".pick input")].find((one) => one.value === box)?.focus();
}

ready(document);
follow();
setInterval(follow, 1000);
