// Two lines over the rounds: the server's own test, and the mean of what the devices reported.
/* global Chart */
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const MANY = 40;
Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;

export class Curves {
  constructor(id, { percent }) {
    this.none = document.getElementById(id).parentElement.querySelector("[data-none]");
    const write = (value) => (percent ? `${+(value * 100).toFixed(1)} %` : `${+value.toPrecision(4)}`);
    this.chart = new Chart(document.getElementById(id), {
      type: "line",
      data: { datasets: [line("test"), line("training")] },
      options: {
        responsive: true,
        maintainAspectRatio: false,
        animation: still ? false : { duration: 250 },
        parsing: false,
        normalized: true,
        interaction: { mode: "nearest", axis: "x", intersect: false },
        plugins: {
          legend: { display: false },
          tooltip: {
            callbacks: {
              title: ([first]) => `Round ${first.parsed.x}`,
              label: (item) => ` ${item.dataset.label}: ${write(item.parsed.y)}`,
            },
          },
        },
        scales: {
          x: { type: "linear", min: 1, suggestedMax: 5, border: { display: false }, ticks: { precision: 0, maxRotation: 0 }, title: { display: true, text: "round" } },
          y: { border: { display: false }, ...(percent ? { min: 0, max: 1 } : { beginAtZero: true, grace: "8%" }), ticks: { maxTicksLimit: 6, callback: write } },
        },
      },
    });
    this.points = [new Map(), new Map()];
    this.paint();
    document.addEventListener("theme", () => this.paint());
  }

  set(rounds, ...series) {
    // Rounds never vanish, and an event may have been faster than this answer.
    series.forEach((values, i) => rounds.forEach((round, at) => {
      if (Number.isFinite(values?.[at])) this.points[i].set(round, values[at]);
    }));
    this.draw();
  }

  put(round, ...values) {
    values.forEach((value, i) => {
      if (value !== undefined) this.points[i].set(round, value);
    });
    this.draw();
  }

  draw() {
    let changed = false;
    this.points.forEach((points, i) => {
      const known = [...points].filter(([, y]) => Number.isFinite(y)).sort(([a], [b]) => a - b);
      const data = known.map(([x, y]) => ({ x, y }));
      const dataset = this.chart.data.datasets[i];
      if (JSON.stringify(dataset.data) === JSON.stringify(data)) return;
      changed = true;
      // Points that stay keep their objects, so only the new one is animated.
      dataset.data.length = Math.min(dataset.data.length, data.length);
      data.forEach((point, at) => { dataset.data[at] = Object.assign(dataset.data[at] || {}, point); });
      dataset.pointRadius = data.length > MANY ? 0 : 3;
    });
    this.none.hidden = this.chart.data.datasets.some((dataset) => dataset.data.length);
    if (changed) this.chart.update();
  }

  paint() {
    const [test, training] = this.chart.data.datasets;
    for (const [dataset, name] of [[test, "--chart-1"], [training, "--chart-2"]]) {
      dataset.borderColor = dataset.backgroundColor = dataset.pointBackgroundColor = css(name);
    }
    for (const scale of Object.values(this.chart.options.scales)) {
      scale.ticks.color = css("--muted");
      scale.grid = { color: css("--chart-grid") };
      if (scale.title) scale.title.color = css("--muted");
    }
    this.chart.options.scales.x.grid = { display: false };
    this.chart.update("none");
  }
}

const line = (label) => ({
  label,
  data: [],
  borderWidth: 2.5,
  borderDash: label === "training" ? [5, 4] : [],
  pointRadius: 3,
  pointHoverRadius: 5,
  clip: 8,
  cubicInterpolationMode: "monotone",
});
