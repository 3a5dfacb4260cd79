import { Fragment } from "./fragment.js";
import { listen } from "./live.js";

const list = new Fragment("notices");
document.addEventListener("unread", () => list.refresh());
listen("me", { event() {}, reopened: () => list.refresh() });
