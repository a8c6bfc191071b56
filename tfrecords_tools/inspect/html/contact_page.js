"use strict";
const about = JSON.parse(document.getElementById("about").textContent);
const holder = document.getElementById("cards");
const cards = [...holder.children];
const fields = ["task", "class", "origin", "order", "id"];
const field = Object.fromEntries(fields.map(name => [name, document.getElementById(name)]));

// The labels of one image that the choice of a task leaves.
const chosen = one => Object.entries(one.tasks)
  .filter(([task]) => !field.task.value || task === field.task.value).map(([, label]) => label);

function offer(select, counts, all) {
  const before = select.value;
  const names = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || (a < b ? -1 : 1));
  select.replaceChildren(new Option(all, ""), ...names.map(name => new Option(`${name} (${counts.get(name)})`, name)));
  select.value = counts.has(before) ? before : "";
}

function counted(namesOf) {
  const counts = new Map();
  for (const one of about)
    for (const name of new Set(namesOf(one))) counts.set(name, (counts.get(name) || 0) + 1);
  return counts;
}

const fits = one => {
  if (field.task.value && !(field.task.value in one.tasks)) return false;
  if (field.id.value && !one.id.toLowerCase().includes(field.id.value.toLowerCase())) return false;
  // Class and origin are to be of one label: a real box of a cat is no pseudo one.
  return !(field.class.value || field.origin.value) || chosen(one).some(label =>
    (!field.class.value || field.class.value in label.classes) &&
    (!field.origin.value || label.origin === field.origin.value));
};

function rank(one) {
  const labels = chosen(one);
  if (field.order.value === "objects") return -Math.max(-1, ...labels.map(label => label.objects ?? -1));
  const sure = labels.map(label => label.confidence).filter(value => value !== null);
  if (!sure.length) return Infinity;  // what has no confidence comes last
  return field.order.value === "sure" ? -Math.max(...sure) : Math.min(...sure);
}

function update() {
  offer(field.class, counted(one => chosen(one).flatMap(label => Object.keys(label.classes))), "all classes");
  offer(field.origin, counted(one => chosen(one).map(label => label.origin)), "all origins");
  const order = about.map((_, place) => place);
  if (field.order.value) {
    const ranks = about.map(rank);
    order.sort((a, b) => (ranks[a] === ranks[b] ? a - b : ranks[a] - ranks[b]));
  }
  let shown = 0;
  for (const place of order) {
    cards[place].hidden = !fits(about[place]);
    shown += !cards[place].hidden;
    for (const figure of cards[place].querySelectorAll("figure"))
      figure.hidden = Boolean(field.task.value) && !["photo", field.task.value].includes(figure.dataset.task);
  }
  holder.replaceChildren(...order.map(place => cards[place]));
  document.body.toggleAttribute("data-one", Boolean(field.task.value));
  document.getElementById("count").textContent = `${shown} of ${about.length} images`;
}

function write() {
  const set = new URLSearchParams(fields.filter(name => field[name].value).map(name => [name, field[name].value]));
  history.replaceState(null, "", set.size ? `#${set}` : location.pathname + location.search);
}

function read() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  for (const name of ["task", "order", "id"]) field[name].value = wanted.get(name) ?? "";
  update();  // offers the classes and origins of this task
  for (const name of ["class", "origin"]) field[name].value = wanted.get(name) ?? "";
  for (const name of fields) if (field[name].value === "" && field[name].options) field[name].selectedIndex = 0;
  update();
}

offer(field.task, counted(one => Object.keys(one.tasks)), "all tasks");
for (const name of fields) field[name].addEventListener("input", () => { update(); write(); });
document.getElementById("all").addEventListener("click", () => {
  history.replaceState(null, "", "#");
  read();
  write();
});
addEventListener("hashchange", read);
const large = document.getElementById("large");
holder.addEventListener("click", event => {
  if (event.target.tagName !== "IMG") return;
  large.querySelector("img").src = event.target.src;
  large.querySelector("p").textContent = event.target.nextElementSibling.textContent;
  large.showModal();
});
large.addEventListener("click", () => large.close());
document.getElementById("filters").hidden = false;
read();
