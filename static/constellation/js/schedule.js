// Shows the field that the chosen kind needs; a new schedule starts with the browser's time zone.
const form = document.querySelector("form.sheet");
const { kind, at, cron, timezone } = form.elements;

function show() {
  at.closest(".field").hidden = kind.value !== "once";
  cron.closest(".field").hidden = kind.value !== "cron";
}

kind.addEventListener("change", show);
show();

const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
const isFresh = "new" in form.dataset && !form.querySelector(".fault");
if (isFresh && [...timezone.options].some((option) => option.value === here)) {
  timezone.value = here;
  timezone.dispatchEvent(new Event("change", { bubbles: true }));
}
