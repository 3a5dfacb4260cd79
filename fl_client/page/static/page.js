// Keeps the page true: what the machine does is asked every two seconds, the rule is worded as the sliders move.
const LOOK = 2000;
const WAIT = 150;

const link = document.querySelector("[data-link]");
const seen = new Map();

function tell(state, text) {
  link.hidden = state === "live";
  link.dataset.state = state;
  link.textContent = text;
}

// A part is replaced only when the server says something new, so a half-typed reason stays.
function place(html) {
  const news = new DOMParser().parseFromString(html, "text/html");
  for (const part of news.querySelectorAll("[data-part]")) {
    const text = part.outerHTML;
    if (seen.get(part.id) === text) continue;
    const first = !seen.has(part.id);
    seen.set(part.id, text);
    const here = document.getElementById(part.id);
    if (here && !(first && here.outerHTML === text)) here.replaceWith(document.adoptNode(part));
  }
}

async function look() {
  if (document.hidden || !document.getElementById("now")) return;
  try {
    const answer = await fetch("/now", { redirect: "error" });
    if (answer.status === 401) return tell("lost", "Locked: open it again with constellation page");
    if (!answer.ok) throw new Error(String(answer.status));
    place(await answer.text());
    tell("live", "");
  } catch {
    tell("lost", "The agent does not run");
  }
}

function show(input) {
  const output = input.closest(".rule").querySelector("output");
  const above = input.value === input.dataset.loose;
  output.toggleAttribute("data-as-above", above);
  output.textContent = above ? "as above" : `${input.value}${input.dataset.unit}`;
}

function rules(form) {
  const sentence = document.querySelector("[data-sentence]");
  const vain = document.querySelector("[data-vain]");
  const fault = document.querySelector("[data-fault]");
  let timer = 0;
  let turn = 0;

  async function preview() {
    const mine = ++turn;
    let said;
    try {
      const answer = await fetch("/rules/preview", { method: "POST", body: new URLSearchParams(new FormData(form)) });
      if (!answer.ok) return;
      said = await answer.json();
    } catch {
      return;
    }
    if (mine !== turn) return;
    fault.textContent = said.fault || "";
    if (said.fault) return;
    sentence.textContent = said.sentence;
    vain.replaceChildren(...said.in_vain.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  }

  form.addEventListener("input", (event) => {
    if (event.target.type === "range") show(event.target);
    clearTimeout(timer);
    timer = setTimeout(preview, WAIT);
  });
  form.addEventListener("reset", () => setTimeout(() => {
    form.querySelectorAll("input[type=range]").forEach(show);
    preview();
  }));
}

const form = document.getElementById("rules");
if (form) rules(form);
if (location.search) history.replaceState(null, "", location.pathname);
setInterval(look, LOOK);
document.addEventListener("visibilitychange", look);
look();
