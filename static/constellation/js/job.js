// One job, live: charts straight from the events, the rest drawn anew by the server.
import { Board } from "./board.js";
import { Curves } from "./charts.js";
import { Fragment } from "./fragment.js";
import { listen } from "./live.js";

const { job, series: seriesAt } = document.querySelector("[data-job]").dataset;
const accuracy = new Curves("accuracy-chart", { percent: true });
const loss = new Curves("loss-chart", { percent: false });

function draw(series) {
  accuracy.set(series.rounds, series.evaluation.accuracy, series.training["train-accuracy"]);
  loss.set(series.rounds, series.evaluation.loss, series.training["train-loss"]);
}

const curves = document.getElementById("job-curves");
const head = new Fragment("job-head", () => { curves.hidden = head.element.dataset.curves === "none"; });
const history = new Fragment("job-history");
const timeline = new Fragment("job-timeline");
const board = new Board();

const handlers = {
  job() {
    head.refresh();
    board.refresh();
    history.refresh();
    timeline.refresh();
  },
  round(fact) {
    accuracy.put(fact.number, undefined, fact.metrics["train-accuracy"]);
    loss.put(fact.number, undefined, fact.metrics["train-loss"]);
    head.refresh();
    history.refresh();
  },
  evaluation(fact) {
    accuracy.put(fact.number, fact.evaluation.accuracy, undefined);
    loss.put(fact.number, fact.evaluation.loss, undefined);
    head.refresh();
    history.refresh();
  },
  participation(fact) {
    board.apply(fact);
  },
};

// What came while the socket was down is in no event.
async function drawAgain() {
  try {
    const answer = await fetch(seriesAt);
    if (answer.ok && !answer.redirected) draw(await answer.json());
  } catch {
    // The socket notices the same outage and asks again when it is back.
  }
}

draw(JSON.parse(document.getElementById("series-data").textContent));
listen(`job-${job}`, {
  event: (fact) => handlers[fact.event]?.(fact),
  reopened() {
    head.refresh();
    history.refresh();
    timeline.refresh();
    board.forget();
    drawAgain();
  },
});
