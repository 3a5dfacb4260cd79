// One socket for one topic. It comes back by itself; `reopened` then reads what was missed. A quiet one serves a page
// that does not change by itself: it shows no sign, and never reloads what somebody is typing.
import { setUnread } from "./bell.js";
import { setServerTime } from "./page.js";

const FINAL = new Map([[4401, "Logged out"], [4403, "No longer allowed"], [4404, "Gone"]]);
const SHORTEST = 300;
const LONGEST = 10_000;

let started = false;

export const listens = () => started;

export function listen(topic, { event, reopened, quiet = false }) {
  started = true;
  const sign = document.querySelector("[data-link]");
  const show = (state, text) => {
    if (quiet) return;
    sign.hidden = false;
    sign.dataset.state = state;
    sign.textContent = text;
  };
  let wait = SHORTEST;
  let opened = false;

  const open = () => {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws/live/${topic}/`);
    socket.addEventListener("message", (message) => {
      const fact = JSON.parse(message.data);
      if (fact.unread !== undefined) setUnread(fact.unread);
      if (fact.event === "notification") return;
      if (fact.event !== "hello") {
        event(fact);
        return;
      }
      setServerTime(fact.server_time);
      wait = SHORTEST;
      show("live", "Live");
      // What happened between drawing the page and listening would be missed as well, so the first time counts too.
      reopened();
      opened = true;
    });
    socket.addEventListener("close", (close) => {
      if (FINAL.has(close.code)) {
        show("lost", FINAL.get(close.code));
        if (opened && !quiet) location.reload(); // the rights changed while the page was open
        return;
      }
      show("lost", "Reconnecting…");
      setTimeout(open, wait * (0.5 + Math.random() / 2));
      wait = Math.min(wait * 2, LONGEST);
    });
  };
  open();
}
