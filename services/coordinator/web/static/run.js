// One run: its parts change as it goes on, a citation opens its passage beside the report, and keys decide.

import { fetched, keepTime, keys, listen, refreshing, settle } from "./live.js";

const run = document.getElementById("run");
const here = `/runs/${run.dataset.run}`;
const tick = keepTime();

const refresh = refreshing(async () => {
  const page = await fetched(here);
  if (page) take(page);
}, 300);

/** While somebody decides, nothing on which they decide is changed under their hands: they are told instead. */
function take(page) {
  const fresh = page.getElementById("run");
  if (!fresh) return;
  const deciding = document.getElementById("decide");
  const same = fresh.dataset.digest === run.dataset.digest && fresh.dataset.status === run.dataset.status;
  if (deciding && !same) stop(deciding, fresh);
  if (!deciding && !same) {
    for (const name of ["body", "side"]) {
      run.querySelector(`.columns > .${name}`).replaceChildren(...fresh.querySelector(`.columns > .${name}`).children);
    }
  }
  const deadline = deciding?.querySelector("[name=deadline]");
  const later = fresh.querySelector("#decide [name=deadline]");
  if (deadline && later) deadline.value = later.value;
  for (const name of ["head", "record", "costs", "timeline"]) swap(name, fresh);
  if (!deciding && same) swap("evidence", fresh);
  run.dataset.seq = fresh.dataset.seq;
  if (!deciding) Object.assign(run.dataset, { status: fresh.dataset.status, digest: fresh.dataset.digest });
  document.title = page.title;
  tick();
}

/** Somebody else was first, or time was, or there is more evidence: what was typed stays, and decides nothing. */
function stop(deciding, fresh) {
  const changed = document.getElementById("changed");
  for (const button of deciding.querySelectorAll("button")) button.disabled = true;
  if (fresh.dataset.status !== "hold") {
    const word = fresh.querySelector('[data-part="record"] dl:last-of-type');
    const who = word?.querySelector("dd b")?.textContent;
    const what = word?.querySelector("dt").textContent ?? fresh.dataset.status;
    changed.querySelector("span").textContent =
      what === "expired" ? "The time to decide is over." : `This run was decided meanwhile: ${what}${who ? ` by ${who}` : ""}.`;
  }
  changed.hidden = false;
}

function swap(name, fresh) {
  const part = run.querySelector(`[data-part="${name}"]`);
  const there = fresh.querySelector(`[data-part="${name}"]`);
  if (!there || !part || part.querySelector(".menu[open]") || part.isEqualNode(there)) return;
  const open = new Set([...part.querySelectorAll("details[open][data-key]")].map((each) => each.dataset.key));
  for (const each of there.querySelectorAll("details[data-key]")) each.open = open.has(each.dataset.key);
  const focused = part.contains(document.activeElement) && document.activeElement.closest("details")?.dataset.key;
  part.replaceWith(there);
  if (focused) there.querySelector(`details[data-key="${focused}"] > summary`)?.focus({ preventScroll: true });
}

/** What is written of the report so far. It is not checked yet, so it cites nothing. */
function write(text) {
  const live = document.getElementById("live");
  if (!live || run.dataset.status !== "writing") return;
  live.hidden = false;
  live.querySelector(".tokens").textContent = text;
}

let opener = null;

async function show(link) {
  const page = await fetched(link.href).catch(() => null);
  const part = page?.querySelector("section.passage");
  if (!part) return location.assign(link.href);
  const place = document.getElementById("passage");
  if (!place.contains(link)) opener = link;
  place.replaceChildren(...part.childNodes);
  place.hidden = false;
  for (const other of document.querySelectorAll("[data-passage][aria-current]")) other.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  const title = place.querySelector("h1");
  const smaller = document.createElement("h2");
  smaller.textContent = title.textContent;
  title.replaceWith(smaller);
  const close = document.createElement("button");
  close.className = "plain close";
  close.textContent = "Close";
  close.addEventListener("click", shut);
  smaller.parentElement.append(close);
  place.scrollIntoView({ block: "nearest" });
  const frozen = place.querySelector(".frozen");
  const quote = place.querySelector("mark");
  if (quote) frozen.scrollTop = quote.offsetTop - frozen.offsetTop - frozen.clientHeight / 3;
  place.focus({ preventScroll: true });
  tick();
}

function shut() {
  const place = document.getElementById("passage");
  if (place.hidden) return false;
  place.hidden = true;
  opener?.removeAttribute("aria-current");
  opener?.focus();
  return false;
}

run.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-passage]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  show(link);
});

run.addEventListener("change", (event) => {
  if (event.target.name === "keep") keep(event.target);
});

function keep(box) {
  for (const twin of run.querySelectorAll(`[name=keep][value="${box.value}"]`)) twin.checked = box.checked;
  count();
}

function count() {
  const kept = new Set([...run.querySelectorAll("[name=keep]:checked")].map((each) => each.value));
  document.getElementById("kept").textContent = kept.size;
  document.querySelector("#decide [value=approve]").disabled = kept.size === 0;
}

function press(decision) {
  const button = document.querySelector(`#decide > .actions [value=${decision}]`);
  if (!button) return false;
  button.focus();
}

function reveal(id) {
  const part = document.getElementById(id);
  if (!part) return false;
  part.open = true;
  part.querySelector("textarea, input:not([type=hidden])").focus();
}

/** To the next source or citation, or back. */
function step(by) {
  const all = [...run.querySelectorAll(".report .cite, .evidence [name=keep]")];
  if (!all.length) return false;
  const at = all.indexOf(document.activeElement);
  all[Math.min(all.length - 1, Math.max(0, at + by))].focus();
}

// A browser that comes back to a page fills in what was there before, perhaps on other evidence.
const deciding = document.getElementById("decide");
deciding?.reset();
if (deciding) count();
settle(here);
keys({
  a: () => press("approve"),
  x: () => press("reject"),
  s: () => reveal("revise"),
  t: () => reveal("extend"),
  c: () => document.getElementById("comment")?.focus(),
  j: () => step(1),
  k: () => step(-1),
  Escape: shut,
});
listen(() => `${here}/live?seen=${run.dataset.seq}`, (name, data) => (name === "writing" ? write(data.text) : refresh()));
