// The devices of the current round. The server draws the rows; batches come over the socket and are kept here.
import { Fragment } from "./fragment.js";
import { drawSky } from "./sky.js";
import { setChip, tone } from "./tones.js";

const WORKING = new Set(["selected", "downloading", "training", "uploading"]);
const SAYS = { selected: "waits for its turn", downloading: "receives the model", uploading: "sends its update" };
const MOST_KEPT = 5000;

export class Board {
  constructor() {
    this.facts = new Map();
    this.fragment = new Fragment("job-board", () => this.draw());
    this.draw();
  }

  refresh() {
    this.fragment.refresh();
  }

  /** After an outage only the server knows; what is remembered may be behind it. */
  forget() {
    this.facts.clear();
    this.refresh();
  }

  get round() {
    return Number(this.fragment.element.dataset.round);
  }

  apply(fact) {
    if (fact.round < this.round) return;
    if (fact.round > this.round) this.facts.clear();
    if (this.facts.size < MOST_KEPT) this.facts.set(fact.device, { ...this.facts.get(fact.device), ...fact });
    const row = document.getElementById(`part-${fact.device}`);
    if (fact.round > this.round || !row) {
      this.refresh();
      return;
    }
    show(row, this.facts.get(fact.device));
    this.drawSky();
  }

  draw() {
    for (const [device, fact] of this.facts) {
      const row = document.getElementById(`part-${device}`);
      if (row && fact.round === this.round) show(row, fact);
    }
    this.drawSky();
  }

  drawSky() {
    const svg = document.getElementById("sky");
    if (svg) drawSky(svg, [...document.querySelectorAll("#board > li")]);
  }
}

function show(row, fact) {
  const working = WORKING.has(fact.status);
  row.dataset.status = fact.status;
  row.dataset.tone = tone(fact.status);
  row.toggleAttribute("data-working", working);
  setChip(row.querySelector(".chip"), fact.status);
  const bar = row.querySelector("progress");
  if (working && fact.batches) {
    bar.max = fact.batches;
    bar.value = fact.batch;
  } else if (working) {
    bar.max = 1;
    bar.value = fact.status === "uploading" ? 1 : 0;
  }
  const text = detail(fact);
  if (text) row.querySelector("[data-detail]").textContent = text;
  row.querySelector(".why").textContent = fact.reason || "";
}

function detail(fact) {
  if (fact.status === "training" && fact.batches) return `batch ${fact.batch} of ${fact.batches}`;
  if (fact.examples) return `${fact.examples} rows${fact.seconds ? ` in ${fact.seconds.toFixed(1)} s` : ""}`;
  return SAYS[fact.status];
}
