// One run: its parts change as it goes on, a citation opens its passage beside the report, and keys decide.

import { fetched, keepTime, keys, listen } from "./live.js";

const run = document.getElementById("run");
const passage = document.getElementById("passage");
const tick = keepTime();
let wanted = false;
let busy = false;

async function refresh() {
  wanted = true;
  if (busy) return;
  busy = true;
  while (wanted) {
    wanted = false;
    const page = await fetched(location.href).catch(() => null);
    if (page) take(page);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  busy = false;
}

/** While somebody decides, nothing on which they decide is changed under their hands: they are told instead. */
function take(page) {
  const fresh = page.getElementById("run");
  if (!fresh) return;
  const deciding = document.getElementById("decide");
  const same = fresh.dataset.digest === run.dataset.digest && fresh.dataset.status === run.dataset.status;
  if (deciding && !same) {
    document.getElementById("changed").hidden = false;
    for (const button of deciding.querySelectorAll("button")) button.disabled = true;
    if (fresh.dataset.digest === run.dataset.digest) tell(fresh.dataset.status);
    return;
  }
  if (!deciding && !same) {
    const parts = ["body", "side"].map((name) => [run.querySelector(`.columns > .${name}`), fresh.querySelector(`.columns > .${name}`)]);
    for (const [here, there] of parts) here.replaceChildren(...there.children);
  }
  for (const name of ["head", "timeline", "record"]) swap(name, fresh);
  if (!deciding && same) swap("evidence", fresh);
  Object.assign(run.dataset, { seq: fresh.dataset.seq, status: fresh.dataset.status, digest: fresh.dataset.digest });
  tick();
}

function tell(status) {
  document.querySelector("#changed span").textContent = status === "expired" ? "The time to decide is over." : "This run was decided meanwhile.";
}

function swap(name, fresh) {
  const here = run.querySelector(`[data-part="${name}"]`);
  const there = fresh.querySelector(`[data-part="${name}"]`);
  if (!there || here?.querySelector(".menu[open]")) return;
  const open = new Set([...(here?.querySelectorAll("details[open][data-key]") ?? [])].map((each) => each.dataset.key));
  for (const each of there.querySelectorAll("details[data-key]")) each.open = open.has(each.dataset.key);
  if (here) here.replaceWith(there);
  else if (name === "timeline") run.append(there);
}

async function show(link) {
  const page = await fetched(link.href);
  const part = page?.querySelector("section.passage");
  if (!part) return location.assign(link.href);
  const place = document.getElementById("passage");
  place.replaceChildren(...part.childNodes);
  place.hidden = false;
  for (const other of document.querySelectorAll("[data-passage][aria-current]")) other.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  place.scrollIntoView({ block: "nearest" });
  const frozen = place.querySelector(".frozen");
  const quote = place.querySelector("mark");
  if (quote) frozen.scrollTop = quote.offsetTop - frozen.offsetTop - frozen.clientHeight / 3;
  place.focus({ preventScroll: true });
  tick();
}

run.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-passage]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  show(link);
});

run.addEventListener("change", (event) => {
  if (event.target.name !== "keep") return;
  for (const twin of run.querySelectorAll(`[name=keep][value="${event.target.value}"]`)) twin.checked = event.target.checked;
  const kept = new Set([...run.querySelectorAll("[name=keep]:checked")].map((box) => box.value));
  document.getElementById("kept").textContent = kept.size;
  document.querySelector("#decide [value=approve]").disabled = kept.size === 0;
});

run.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) reveal(opener.dataset.opens);
});

function reveal(id) {
  const part = document.getElementById(id);
  if (!part) return false;
  part.hidden = false;
  part.querySelector("textarea").focus();
}

function press(decision) {
  const button = document.querySelector(`#decide > .actions [value=${decision}]`);
  if (!button) return false;
  button.focus();
}

keys({
  a: () => press("approve"),
  x: () => press("reject"),
  s: () => reveal("revise"),
  c: () => document.getElementById("comment")?.focus(),
  j: () => step(1),
  k: () => step(-1),
  Escape: () => {
    document.getElementById("passage").hidden = true;
    return false;
  },
});

function step(by) {
  const all = [...run.querySelectorAll(".report .cite, .evidence [name=keep], .evidence .title a")].filter((each) => each.name === "keep" || each.className === "cite");
  const at = all.indexOf(document.activeElement);
  all[Math.min(all.length - 1, Math.max(0, at + by))]?.focus();
}

listen(
  run.dataset.live,
  (name, data) => {
    const live = document.getElementById("live");
    if (name === "token" && live) {
      live.hidden = false;
      live.querySelector(".tokens").append(data.text);
    } else refresh();
  },
  refresh,
);
