// One stream of events that opens again by itself, and says when it cannot.

const offline = document.getElementById("offline");

/** Call `heard` with each event's data; `again` after the stream had to be opened anew. */
export function listen(url, heard, again = () => {}) {
  const source = new EventSource(url);
  let lost = false;
  source.onopen = () => {
    offline.hidden = true;
    if (lost) again();
    lost = false;
  };
  source.onerror = () => {
    lost = true;
    offline.hidden = false;
  };
  for (const name of ["changed", "token", "ended"]) {
    source.addEventListener(name, (event) => heard(name, JSON.parse(event.data)));
  }
  addEventListener("pagehide", () => source.close());
  return source;
}

/** The HTML at a URL, as a document; `null` where there is none. */
export async function fetched(url) {
  const response = await fetch(url, { headers: { Accept: "text/html" } });
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
        time.textContent = seconds > 0 ? `${span(seconds)} left` : "time is up";
        time.classList.toggle("urgent", seconds < 1800);
      } else if (time.classList.contains("since")) time.textContent = span(Math.max(0, -seconds));
      else if (time.classList.contains("ago")) time.textContent = `${span(Math.max(0, -seconds))} ago`;
      else if (!time.dataset.said) {
        time.textContent = time.textContent.replace(/\d.*UTC$/, exact.format(moment));
        time.dataset.said = "1";
      }
    }
  };
  tick();
  setInterval(tick, 5000);
  return tick;
}

/** Keys that do something, unless somebody is typing. */
export function keys(bindings) {
  addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape" && typing) typing.blur();
    if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
    const act = bindings[event.key];
    if (act && act(event) !== false) event.preventDefault();
  });
}
