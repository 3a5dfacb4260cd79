// The round as a constellation: the server in the middle, a star for each device, lit by what the device does.
const SVG = "http://www.w3.org/2000/svg";
const MOST_STARS = 120;

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// The same device stands at the same distance in every round.
function distance(id) {
  let hash = 7;
  for (const letter of id) hash = (hash * 31 + letter.charCodeAt(0)) % 9973;
  return 62 + (hash % 30);
}

function star(row) {
  const group = element("g", { class: "star" });
  group.dataset.device = row.dataset.device;
  group.append(element("line", {}), element("circle", { class: "glow" }), element("circle", { class: "core" }));
  const title = element("title", {});
  group.append(title);
  return group;
}

function place(group, index, count, id) {
  const angle = (index / count) * 2 * Math.PI - Math.PI / 2;
  const far = distance(id);
  const [x, y] = [Math.cos(angle) * far, Math.sin(angle) * far].map((value) => value.toFixed(1));
  const size = count > 40 ? 3 : 5;
  const [line, glow, core] = group.children;
  for (const [key, value] of Object.entries({ x1: x, y1: y, x2: 0, y2: 0 })) line.setAttribute(key, value);
  for (const [circle, r] of [[glow, size * 2.4], [core, size]]) {
    circle.setAttribute("cx", x);
    circle.setAttribute("cy", y);
    circle.setAttribute("r", r);
  }
}

export function drawSky(svg, rows) {
  if (!svg.firstChild) {
    svg.append(
      element("circle", { class: "ring", r: 62 }),
      element("circle", { class: "ring", r: 92 }),
      element("g", {}),
      element("circle", { class: "halo", r: 17 }),
      element("circle", { class: "hub", r: 8 }),
    );
  }
  const sky = svg.querySelector("g");
  const shown = rows.slice(0, MOST_STARS);
  const known = new Map([...sky.children].map((group) => [group.dataset.device, group]));
  const stars = shown.map((row) => known.get(row.dataset.device) || star(row));
  if (stars.some((group, i) => sky.children[i] !== group) || sky.children.length !== stars.length) {
    sky.replaceChildren(...stars);
    stars.forEach((group, i) => place(group, i, stars.length, group.dataset.device));
  }
  shown.forEach((row, i) => {
    stars[i].dataset.status = row.dataset.status;
    stars[i].dataset.tone = row.dataset.tone;
    stars[i].querySelector("title").textContent = `${row.querySelector(".name").textContent}: ${row.dataset.status}`;
  });
}
