// Parts of a page that the server draws anew. At most three reads a second for each part, and a row that did not
// change keeps its node, so focus, selection and animations survive.
import { age } from "./page.js";

const PAUSE = 350;

export class Fragment {
  constructor(id, drawn = () => {}) {
    this.element = document.getElementById(id);
    this.drawn = drawn;
    this.busy = false;
    this.wanted = false;
  }

  async refresh() {
    this.wanted = true;
    if (this.busy) return;
    this.busy = true;
    while (this.wanted) {
      this.wanted = false;
      await this.read();
      await new Promise((resume) => setTimeout(resume, PAUSE));
    }
    this.busy = false;
  }

  async read() {
    let answer;
    try {
      answer = await fetch(this.element.dataset.src);
    } catch {
      return; // the socket notices the same outage and asks again when it is back
    }
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(this.element.id);
    if (!fresh) return;
    age(page);
    patch(this.element, fresh);
    this.drawn();
  }
}

function patch(old, fresh) {
  for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
  if (old.isEqualNode(fresh)) return;
  const children = [...fresh.children];
  if (!children.length || children.some((child) => !child.id)) {
    old.replaceChildren(...fresh.childNodes);
    return;
  }
  const known = new Map([...old.children].map((child) => [child.id, child]));
  children.map((child) => reuse(known.get(child.id), child)).forEach((child, place) => {
    if (old.children[place] !== child) old.insertBefore(child, old.children[place] || null);
  });
  while (old.children.length > children.length) old.lastElementChild.remove();
}

function reuse(before, child) {
  if (!before || before.tagName !== child.tagName) return child;
  if (before.hasAttribute("data-keep")) return before;
  if (child.hasAttribute("data-inside")) {
    patch(before, child);
    return before;
  }
  if (before.open) child.open = true;
  return before.isEqualNode(child) ? before : child;
}
