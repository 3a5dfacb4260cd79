// What one device measured, over an hour, a day, a month or a year; the hour grows while one looks.
import { serverNow } from "./page.js";
import { TimeCurve } from "./timecharts.js";

const card = document.getElementById("device-history");
const curves = document.getElementById("curves");
const ram = Number(card.dataset.ram);
const gpus = [...Array(Number(curves.dataset.gpus)).keys()];
const GB = 1e9;
const HOUR = 3_600_000;

const same = (value) => value;
const used = (free) => (ram ? 100 * (1 - free / ram) : undefined);
const ofGpus = (name, change = same) => gpus.map((i) => [`GPU ${i}`, `gpu${i}.${name}`, change]);
// Of each chart: its lines as label, number of the sample, and what is drawn of it; the unit; the upper end.
const CHARTS = {
  processor: [[["all programs", "cpu", same], ["others", "cpu_by_others", same]], "%", 100],
  memory: [[["in use", "ram_free_bytes", used]], "%", 100],
  gpu: [ofGpus("load"), "%", 100],
  gpumemory: [ofGpus("free_bytes", (free) => free / GB), "GB", undefined],
  temperature: [[["processor", "temperature", same], ...ofGpus("temperature")], "°C", undefined],
  battery: [[["charge", "battery", same]], "%", 100],
};

let hours = 1;
let asked = 0;
const drawn = Object.entries(CHARTS).map(([name, [lines, unit, max]]) => {
  const figure = curves.querySelector(`[data-curve="${name}"]`);
  const labels = lines.map(([label]) => label);
  return { figure, lines, curve: new TimeCurve(figure.querySelector("canvas"), labels, { unit, max }) };
});

function points(series, [, number, change]) {
  const means = series.numbers[number]?.mean || [];
  return series.times.flatMap((at, i) => (Number.isFinite(means[i]) ? [{ x: at * 1000, y: change(means[i]) }] : []));
}

async function read() {
  const mine = ++asked;
  const to = serverNow();
  const from = to - hours * HOUR;
  const query = new URLSearchParams({ from: new Date(from).toISOString(), to: new Date(to).toISOString() });
  let answer;
  try {
    answer = await fetch(`${card.dataset.telemetry}?${query}`);
  } catch {
    return; // the socket notices the same outage; when it is back, it asks again
  }
  if (!answer.ok || mine !== asked) return;
  show(await answer.json(), from, to);
}

function show(series, from, to) {
  document.getElementById("history-none").hidden = series.times.length > 0;
  curves.hidden = !series.times.length;
  for (const { figure, lines, curve } of drawn) {
    const all = lines.map((each) => points(series, each));
    figure.hidden = !all.some((each) => each.length);
    if (!figure.hidden) curve.set(all, { from, to, step: series.step_seconds });
  }
}

function nested(telemetry, number) {
  const gpu = /^gpu(\d+)\.(\w+)$/.exec(number);
  return gpu ? telemetry.gpus?.[gpu[1]]?.[gpu[2]] : telemetry[number];
}

function sample(telemetry) {
  if (hours !== 1 || !telemetry?.at) return;
  if (curves.hidden) {
    read();
    return;
  }
  const at = Date.parse(telemetry.at);
  for (const { figure, lines, curve } of drawn) {
    if (!figure.hidden) curve.push(lines.map(([, number, change]) => {
      const value = nested(telemetry, number);
      return Number.isFinite(value) ? change(value) : undefined;
    }), at);
  }
}

card.addEventListener("click", (click) => {
  const button = click.target.closest("[data-hours]");
  if (!button) return;
  hours = Number(button.dataset.hours);
  for (const each of card.querySelectorAll("[data-hours]")) each.setAttribute("aria-pressed", each === button);
  read();
});

document.addEventListener("sample", (event) => sample(event.detail));
document.addEventListener("reopened", read);
read();
