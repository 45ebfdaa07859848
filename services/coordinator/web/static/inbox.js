// The inbox: rows come and change without a reload; everything can be done from the keyboard.

import { fetched, keepTime, keys, listen, refreshing, settle } from "./live.js";

const rows = document.getElementById("rows");
const bulk = document.getElementById("bulk");
const tick = keepTime();

const refresh = refreshing(async () => {
  const page = await fetched(rows.dataset.rows);
  if (page) take(page);
}, 400);

function take(page) {
  const fresh = page.getElementById("rows");
  if (!fresh) return;
  const old = new Map([...rows.children].map((row) => [row.dataset.run, row]));
  const focused = document.activeElement?.closest?.("[data-run]")?.dataset.run;
  const now = [...fresh.children].map((row) => renewed(row, old.get(row.dataset.run)));
  rows.replaceChildren(...now);
  rows.dataset.seq = fresh.dataset.seq;
  if (focused) rows.querySelector(`[data-run="${focused}"] a`)?.focus({ preventScroll: true });
  for (const count of page.querySelectorAll("[data-count]")) {
    for (const here of document.querySelectorAll(`[data-count="${count.dataset.count}"]`)) here.textContent = count.textContent;
  }
  pick();
  tick();
}

/** The row as it is by now; picked still if it was, and if it is still the same evidence. */
function renewed(row, before) {
  if (before && before.dataset.seq === row.dataset.seq && row.dataset.run) return before;
  if (!before && row.dataset.run) row.classList.add("fresh");
  const was = before?.querySelector("[name=run]");
  const is = row.querySelector("[name=run]");
  if (was?.checked && is?.value === was.value) is.checked = true;
  if (before?.classList.contains("at")) row.classList.add("at");
  return row;
}

function pick() {
  if (!bulk) return;
  const picked = rows.querySelectorAll("[name=run]:checked").length;
  bulk.hidden = !picked;
  bulk.querySelector(".picked").textContent = `${picked} selected`;
}

function move(by) {
  const all = [...rows.querySelectorAll("[data-run]")];
  const at = all.findIndex((row) => row.classList.contains("at"));
  const to = all[Math.min(all.length - 1, Math.max(0, at + by))];
  if (!to) return;
  all[at]?.classList.remove("at");
  to.classList.add("at");
  to.querySelector("a").focus({ preventScroll: true });
  to.scrollIntoView({ block: "nearest" });
}

const narrowed = new URLSearchParams(rows.dataset.rows.split("?")[1]);
settle(narrowed.get("show") === "waiting" && narrowed.size === 1 ? "/" : `/?${narrowed}`);
rows.addEventListener("change", pick);
keys({
  j: () => move(1),
  k: () => move(-1),
  x: () => rows.querySelector(".at [name=run]")?.click(),
  "/": () => document.querySelector(".find input[type=search]").focus(),
  n: () => {
    const ask = document.getElementById("ask");
    if (!ask) return false;
    ask.open = true;
    ask.querySelector("textarea").focus();
  },
});
pick();
listen(() => `/inbox/live?seen=${rows.dataset.seq}`, refresh);
