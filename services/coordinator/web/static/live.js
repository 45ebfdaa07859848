// What the pages share: a stream of events that opens again by itself, times that stay true, and keys.

const offline = document.getElementById("offline");

/**
 * Call `heard` with each event of a stream. `url` gives its address anew each time that it is opened. A page that
 * nobody looks at does not listen: browsers allow few connections to one host.
 */
export function listen(url, heard) {
  let source = null;
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(url());
    source.onopen = () => (offline.hidden = true);
    source.onerror = () => {
      offline.hidden = false;
      if (source?.readyState === EventSource.CLOSED) {
        close();
        setTimeout(open, 2000);
      }
    };
    for (const name of ["changed", "writing"]) {
      source.addEventListener(name, (event) => heard(name, JSON.parse(event.data)));
    }
  };
  const close = () => {
    source?.close();
    source = null;
  };
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  open();
}

/** `look` again as often as is asked for, one at a time, and at most every `pause` milliseconds. */
export function refreshing(look, pause) {
  let wanted = false;
  let busy = false;
  return async () => {
    wanted = true;
    if (busy) return;
    busy = true;
    while (wanted) {
      wanted = false;
      await look().catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    busy = false;
  };
}

/** The HTML at a URL, as a document; `null` where there is none. Whoever is signed out is sent to sign in. */
export async function fetched(url) {
  const response = await fetch(url, { headers: { Accept: "text/html" } });
  if (response.redirected && new URL(response.url).pathname === "/sign-in") location.reload();
  return response.ok ? new DOMParser().parseFromString(await response.text(), "text/html") : null;
}

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

function span(seconds) {
  const at = UNITS.findIndex(([, size]) => seconds >= size);
  if (at < 0) return "0 s";
  const [unit, size] = UNITS[at];
  const next = UNITS[at + 1];
  const rest = next && at < 2 ? Math.floor((seconds % size) / next[1]) : 0;
  return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${next[0]}` : ""}`;
}

/** Keep every time on the page true: how long ago, how long left, and moments in the reader's own zone. */
export function keepTime() {
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const tick = () => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const moment = new Date(time.dateTime);
      const seconds = (moment - Date.now()) / 1000;
      if (time.classList.contains("left")) {
        say(time, seconds > 0 ? `${span(seconds)} left` : "time is up");
        time.classList.toggle("urgent", seconds < 1800);
      } else if (time.classList.contains("since")) say(time, span(Math.max(0, -seconds)));
      else if (time.classList.contains("ago")) say(time, `${span(Math.max(0, -seconds))} ago`);
      else if (!time.dataset.said) {
        say(time, time.textContent.replace(/\d.*UTC$/, exact.format(moment)));
        time.dataset.said = "1";
      }
    }
  };
  tick();
  setInterval(tick, 1000);
  return tick;
}

function say(time, text) {
  if (time.textContent !== text) time.textContent = text;
}

/** Keys that do something, unless somebody is typing. */
export function keys(bindings) {
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape" && typing) typing.blur();
    if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
    const act = Object.hasOwn(bindings, event.key) && bindings[event.key];
    if (act && act(event) !== false) event.preventDefault();
  });
}

/** The address of what the page shows, whatever brought it here: a form that was sent, or a word that was said. */
export function settle(path) {
  history.replaceState(null, "", path);
}
