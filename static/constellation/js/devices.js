// The fleet, or one device of it. A device that falls silent is stale without anybody saying so.
import { Fragment } from "./fragment.js";
import { listen } from "./live.js";
import { serverNow, since } from "./page.js";
import { setChip } from "./tones.js";

const SPEAKING = new Set(["idle", "training", "paused"]);
const part = document.getElementById("fleet-part") ? "fleet-part" : "device-part";
const fragment = new Fragment(part, watchAll);
const cardOf = (device) => document.querySelector(`[data-device="${CSS.escape(device)}"]`);

function size(bytes) {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  let step = 0;
  for (; bytes >= 1024 && step < units.length - 1; step++) bytes /= 1024;
  return `${bytes.toFixed(step ? 1 : 0)}\u00a0${units[step]}`;
}

function setPresence(card, presence) {
  if (card.dataset.presence === presence) return;
  card.dataset.presence = presence;
  setChip(card.querySelector("[data-chip]"), presence);
  fragment.refresh();
}

function event(fact) {
  const card = cardOf(fact.device);
  if (!card) {
    if (part === "fleet-part") fragment.refresh();
    return;
  }
  if (fact.event === "log" || fact.data !== undefined || fact.quarantine !== undefined || fact.alerts) fragment.refresh();
  if (fact.last_seen) card.dataset.seen = Date.parse(fact.last_seen);
  if (fact.telemetry && part === "device-part") document.dispatchEvent(new CustomEvent("sample", { detail: fact.telemetry }));
  const { cpu, ram_free_bytes: ram } = fact.telemetry || {};
  if (cpu !== undefined) card.querySelector("[data-cpu]").textContent = `${Math.round(cpu)} %`;
  if (ram !== undefined) card.querySelector("[data-ram]").textContent = size(ram);
  if (fact.reason !== undefined && fact.reason !== card.dataset.reason) {
    // Its owner reads a sentence of its own, which only the server may show.
    card.dataset.reason = fact.reason;
    fragment.refresh();
  }
  if (fact.presence) setPresence(card, fact.presence);
  watch(card);
}

function watch(card) {
  const seen = Number(card.dataset.seen);
  if (!seen) return;
  const text = since(seen);
  const place = card.querySelector("[data-seen-text]");
  if (place.textContent !== text) place.textContent = text;
  const limit = Number(fragment.element.dataset.staleAfter) * 1000;
  const silent = serverNow() - seen > limit;
  if (silent && SPEAKING.has(card.dataset.presence)) setPresence(card, "stale");
  if (!silent && card.dataset.presence === "stale") fragment.refresh();
}

function watchAll() {
  document.querySelectorAll("[data-device]").forEach(watch);
}

setInterval(watchAll, 1000);
listen("devices", {
  event,
  reopened() {
    fragment.refresh();
    document.dispatchEvent(new Event("reopened"));
  },
});
