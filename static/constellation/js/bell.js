// How many notifications wait unread; the number comes with every page and over its socket.
export function setUnread(unread) {
  const count = document.querySelector("[data-unread]");
  if (!count) return;
  const before = Number(count.dataset.unread);
  if (before === unread) return;
  count.dataset.unread = unread;
  count.textContent = unread > 99 ? "99+" : unread;
  count.hidden = !unread;
  document.dispatchEvent(new CustomEvent("unread", { detail: unread }));
}
