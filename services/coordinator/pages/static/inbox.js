// The inbox: rows come and change without a reload; everything can be done from the keyboard.

import { fetched, keepTime, keys, listen } from "./live.js";

const rows = document.getElementById("rows");
const bulk = document.getElementById("bulk");
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
    await new Promise((resolve) => setTimeout(resolve, 400));
  }
  busy = false;
}

function take(page) {
  const fresh = page.getElementById("rows");
  if (!fresh) return location.reload();
  const old = new Map([...rows.children].map((row) => [row.dataset.run, row]));
  const now = [...fresh.children].map((row) => {
    const before = old.get(row.dataset.run);
    if (before && before.dataset.seq === row.dataset.seq) return before;
    if (row.dataset.run) row.classList.add("fresh");
    const picked = before?.querySelector("[name=run]");
    const digest = (box) => box?.value.split(" ")[1];
    if (picked?.checked && digest(picked) === digest(row.querySelector("[name=run]"))) row.querySelector("[name=run]").checked = true;
    if (before?.classList.contains("at")) row.classList.add("at");
    return row;
  });
  rows.replaceChildren(...now);
  for (const count of page.querySelectorAll("[data-count]")) {
    const here = document.querySelector(`[data-count="${count.dataset.count}"]`);
    if (here) here.textContent = count.textContent;
  }
  pick();
  tick();
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
listen(rows.dataset.live, refresh, refresh);
