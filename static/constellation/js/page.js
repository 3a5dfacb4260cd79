// What every page does: keeps times current, asks before something final, copies commands.
let offset = 0;

export const serverNow = () => Date.now() + offset;
export const setServerTime = (seconds) => { offset = seconds * 1000 - Date.now(); };

export function since(milliseconds) {
  const seconds = Math.max(0, Math.round((serverNow() - milliseconds) / 1000));
  if (seconds < 3) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  const days = Math.floor(seconds / 86_400);
  return `${days} day${days === 1 ? "" : "s"} ago`;
}

export function age(root) {
  for (const time of root.querySelectorAll("time[data-ago]")) {
    const text = since(Date.parse(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}

age(document);
setInterval(() => age(document), 1000);

document.addEventListener("click", async (click) => {
  const sure = click.target.closest("[data-sure]");
  if (sure && !confirm(sure.dataset.sure)) click.preventDefault();
  const copy = click.target.closest("[data-copy]");
  if (!copy) return;
  const source = document.querySelector(copy.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    copy.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source); // no clipboard without TLS: select it, so that Ctrl+C takes it
  }
});
