// Two small comforts; every page is whole without them: copy a command, and follow the mill while the page is open.
"use strict";

const EVERY_MS = 5000;

function copyable(root) {
  for (const button of root.querySelectorAll("button.copy")) button.hidden = false;
}

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(code); // no clipboard here: select it, so that one key copies it
    button.textContent = "selected";
    return;
  }
  button.blur();
  setTimeout(() => { button.textContent = "copy"; }, 1500);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (button) copy(button);
});

let tag = null;

function busy() {
  const main = document.querySelector("main");
  return document.hidden || !getSelection().isCollapsed || main.contains(document.activeElement) || main.querySelector("details[open]");
}

async function follow() {
  if (busy()) return;
  const lost = document.querySelector(".lost");
  try {
    const answer = await fetch(location.pathname + location.search, { cache: "no-cache" });
    const found = answer.headers.get("etag");
    lost.hidden = true;
    if (!answer.ok || found === tag) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (tag !== null && !busy()) {
      const main = document.adoptNode(fresh.querySelector("main"));
      copyable(main);
      document.querySelector("main").replaceWith(main);
      document.title = fresh.title;
    }
    tag = found;
  } catch {
    lost.hidden = false;
  }
}

copyable(document);
follow();
setInterval(follow, EVERY_MS);
