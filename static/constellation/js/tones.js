// The same table as fl_server/templatetags/constellation.py; a test holds them equal.
export const TONES = {
  "good": ["accepted", "approved", "completed", "idle", "open", "ready"],
  "bad": ["expired", "failed", "lost", "rejected", "revoked"],
  "busy": ["downloading", "launched", "preparing", "running", "training", "uploading"],
  "wait": ["late", "paused", "pending", "queued", "reserved", "selected", "stale"]
};

export const tone = (status) => Object.keys(TONES).find((name) => TONES[name].includes(status)) || "calm";

export function setChip(chip, status) {
  chip.dataset.tone = tone(status);
  const text = status.replaceAll("-", " ");
  if (chip.textContent !== text) chip.textContent = text;
}
