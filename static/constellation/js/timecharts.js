// Lines over time. A gap in what was measured stays a gap.
/* global Chart */
import { css } from "./charts.js";

const COLOURS = ["--chart-1", "--chart-2", "--good", "--bad"];
const MINUTE = 60_000;
const DAY = 1440 * MINUTE;
// Distances between two marks of the time axis, and how many marks fit.
const MARKS = [10, 30, 60, 180, 360, 1440, 7 * 1440, 31 * 1440, 92 * 1440].map((minutes) => minutes * MINUTE);
const MOST_MARKS = 6;
// A device that speaks less often than every step is not away.
const SHORTEST_GAP = 90_000;

// Marks at round times of the reader's own clock.
function marks(from, to) {
  const every = MARKS.find((distance) => (to - from) / distance <= MOST_MARKS) || MARKS.at(-1);
  const offset = new Date(from).getTimezoneOffset() * MINUTE;
  const found = [];
  for (let at = Math.ceil((from - offset) / every) * every + offset; at <= to; at += every) found.push({ value: at });
  return found;
}

function moment(value, width) {
  const date = new Date(value);
  if (width <= 2 * DAY) return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return date.toLocaleDateString([], width <= 60 * DAY ? { day: "numeric", month: "short" } : { month: "short", year: "2-digit" });
}

const line = (label) => ({
  label,
  data: [],
  borderWidth: 2,
  pointRadius: 0,
  pointHitRadius: 12,
  cubicInterpolationMode: "monotone",
});

export class TimeCurve {
  constructor(canvas, labels, { unit, max }) {
    const write = (value) => `${+value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
    this.chart = new Chart(canvas, {
      type: "line",
      data: { datasets: labels.map(line) },
      options: {
        responsive: true,
        maintainAspectRatio: false,
        animation: false,
        parsing: false,
        normalized: true,
        interaction: { mode: "nearest", axis: "x", intersect: false },
        plugins: {
          legend: { display: false },
          tooltip: {
            callbacks: {
              title: ([first]) => new Date(first.parsed.x).toLocaleString(),
              label: (item) => ` ${item.dataset.label}: ${write(item.parsed.y)}`,
            },
          },
        },
        scales: {
          x: {
            type: "linear",
            border: { display: false },
            afterBuildTicks: (axis) => { axis.ticks = marks(axis.min, axis.max); },
            ticks: { maxRotation: 0, callback: (value) => moment(value, this.width) },
          },
          y: { min: unit === "°C" ? undefined : 0, max, border: { display: false }, ticks: { maxTicksLimit: 5, callback: write } },
        },
      },
    });
    this.paint();
    document.addEventListener("theme", () => this.paint());
  }

  // `lines` holds the points of each label: {x: milliseconds, y}.
  set(lines, { from, to, step }) {
    const { x } = this.chart.options.scales;
    [x.min, x.max] = [from, to];
    this.width = to - from;
    lines.forEach((points, i) => {
      this.chart.data.datasets[i].data = points;
      this.chart.data.datasets[i].spanGaps = Math.max(step * 3000, SHORTEST_GAP);
    });
    this.chart.update("none");
  }

  push(values, at) {
    const { x } = this.chart.options.scales;
    [x.min, x.max] = [at - this.width, at];
    values.forEach((y, i) => {
      if (Number.isFinite(y)) this.chart.data.datasets[i].data.push({ x: at, y });
    });
    this.chart.update("none");
  }

  paint() {
    this.chart.data.datasets.forEach((dataset, i) => {
      dataset.borderColor = dataset.backgroundColor = css(COLOURS[i % COLOURS.length]);
    });
    for (const scale of Object.values(this.chart.options.scales)) scale.ticks.color = css("--muted");
    this.chart.options.scales.y.grid = { color: css("--chart-grid") };
    this.chart.options.scales.x.grid = { display: false };
    this.chart.update("none");
  }
}
