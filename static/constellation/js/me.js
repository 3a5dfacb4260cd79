// Keeps the bell true on the pages that listen to nothing else.
import { listen, listens } from "./live.js";

// By then the page's own script has run.
document.addEventListener("DOMContentLoaded", () => {
  if (!listens()) listen("me", { event() {}, reopened() {}, quiet: true });
});
