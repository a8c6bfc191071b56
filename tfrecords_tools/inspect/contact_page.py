"""The HTML page of a contact sheet: it needs no other file and no network, and without JavaScript it still shows all.

What the filters are set to stands in the address behind `#`, so that a view can be linked:
`page.html#task=detection&class=cat&origin=real:coco&order=unsure&id=000139`.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from must_tf.shared.html_report import STYLE
from tfrecords_tools.reading.look_table import Table


class Page(NamedTuple):
    """What is on the page. Of each card: what the filters look at, and {task: JPEG}, "photo" first."""

    title: str
    sample: str  # which images these are
    order: str  # in which they stand
    tables: Sequence[Table]
    cards: Sequence[tuple[dict[str, Any], dict[str, bytes]]]


def render(page: Page) -> str:
    """The page as HTML."""
    about = json.dumps([about for about, _ in page.cards], ensure_ascii=False)
    parts = {
        "TITLE": html.escape(page.title),
        "SAMPLE": html.escape(page.sample),
        "ORDER": html.escape(page.order),
        "STYLE": STYLE + OWN_STYLE,
        "TABLES": "".join(map(_table, page.tables)),
        "CARDS": "".join(_card(*card) for card in page.cards),
        "ABOUT": about.replace("<", "\\u003c"),  # "</script>" in a name would end the data
        "SCRIPT": SCRIPT,
    }
    return re.sub("@([A-Z]+)@", lambda place: parts[place[1]], PAGE)


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.headers)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    note = f"<p>{html.escape(table.note)}</p>" if table.note else ""
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    return f'<details><summary>{html.escape(table.title)}</summary><div class="wide">{body}</div>{note}</details>'


def _cell(cell: str) -> str:
    kind = ' class="bar"' if cell.startswith("█") else ""
    return f"<td{kind}>{html.escape(cell)}</td>"


def _card(about: dict[str, Any], pictures: dict[str, bytes]) -> str:
    name = html.escape(about["id"])
    caption = f"<b>{name}</b> {html.escape(about['size'])} · {html.escape(about['place'])}"
    shown = "".join(_picture(task, content, about) for task, content in pictures.items())
    return f'<article class="card"><h3>{caption}</h3><div class="strip">{shown}</div></article>\n'


def _picture(task: str, content: bytes, about: dict[str, Any]) -> str:
    data = base64.b64encode(content).decode()
    text = html.escape(_caption(task, about["tasks"].get(task)))
    name = html.escape(task)
    return (
        f'<figure data-task="{name}"><img loading="lazy" alt="{name} of {html.escape(about["id"])}" '
        f'src="data:image/jpeg;base64,{data}"><figcaption>{text}</figcaption></figure>'
    )


def _caption(task: str, about: dict[str, Any] | None) -> str:
    if about is None:
        return task
    parts = [f"{task} · {about['origin']}"]
    if about["objects"] is not None:
        parts.append(f"{about['objects']} object{'' if about['objects'] == 1 else 's'}")
    if about["known"] is not None:
        parts.append(f"{100 * about['known']:.0f} % known")
    if about["confidence"] is not None:
        parts.append(f"confidence {about['confidence']:.2f}")
    return " · ".join(parts)


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@</title>
<style>@STYLE@</style>
</head>
<body>
<header><h1>@TITLE@</h1></header>
<section class="tables">@TABLES@</section>
<nav id="filters" hidden>
<label>task <select id="task"></select></label>
<label>class <select id="class"></select></label>
<label>origin <select id="origin"></select></label>
<label>order <select id="order">
<option value="">@ORDER@</option>
<option value="unsure">least confident first</option>
<option value="sure">most confident first</option>
<option value="objects">most objects first</option>
</select></label>
<label>id <input id="id" type="search" size="14" placeholder="contains"></label>
<button id="all" type="button">show all</button>
<output id="count"></output>
</nav>
<p class="sample">@SAMPLE@</p>
<main id="cards">
@CARDS@</main>
<dialog id="large"><img alt=""><p></p></dialog>
<script type="application/json" id="about">@ABOUT@</script>
<script>@SCRIPT@</script>
</body>
</html>
"""

OWN_STYLE = """
body { max-width: none; }
.tables { display: flex; flex-wrap: wrap; gap: 6px 28px; margin: 12px 0; }
details[open] { flex-basis: 100%; }
summary { cursor: pointer; font-weight: 600; }
td.bar { color: var(--best); letter-spacing: -1px; }
nav { position: sticky; top: 0; z-index: 2; background: var(--ground); display: flex; flex-wrap: wrap; gap: 8px 18px;
  align-items: center; padding: 12px 0; border-bottom: 1px solid var(--line); }
nav[hidden] { display: none; }
nav label { color: var(--faint); font-size: 0.9rem; }
select, input, button { font: inherit; color: var(--ink); background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; padding: 3px 8px; max-width: 210px; }
output { color: var(--faint); margin-left: auto; }
.sample { color: var(--faint); }
.card { margin: 0 0 22px; }
.card h3 { font-size: 0.9rem; font-weight: 400; color: var(--faint); margin: 0 0 6px; overflow-wrap: anywhere; }
.card b { color: var(--ink); }
.strip { display: flex; flex-wrap: wrap; gap: 8px; }
.strip figure { margin: 0; flex: 1 1 180px; max-width: 288px; }
.strip img { width: 100%; cursor: zoom-in; }
.strip figcaption { font-size: 0.78rem; margin-top: 3px; }
[data-one] #cards { display: grid; gap: 20px; grid-template-columns: repeat(auto-fill, minmax(440px, 1fr)); }
[data-one] .strip figure { max-width: calc(50% - 4px); }
[hidden] { display: none !important; }
dialog { border: 0; padding: 16px; background: var(--ground); color: var(--ink); border-radius: 8px; max-width: 96vw; }
dialog::backdrop { background: rgb(0 0 0 / 80%); }
dialog img { width: min(90vw, 1100px); max-height: 84vh; object-fit: contain; image-rendering: auto; }
"""

SCRIPT = """
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
"""
