"use strict";
// What a page does beyond showing itself: tables are sorted and filtered, rows are picked and their marks stand out in
// the pictures, marks say what they are. Without it the page shows everything all the same. Texts are only ever set as
// text. Nothing is requested, but from the page's own server where the page is watched.

/** What the reader has set, which outlives a refresh of the page. */
const state = { theme: "auto", picked: new Set(), order: new Map(), text: new Map(), choices: new Map() };

function make(tag, attributes = {}, text = "") {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function labelled(text, control) {
  const label = make("label", {}, `${text} `);
  label.append(control);
  return label;
}

// --- theme

function themeSwitch(main) {
  const choice = make("select", { id: "theme" });
  for (const name of ["auto", "light", "dark"]) choice.append(make("option", { value: name }, name));
  choice.value = state.theme;
  choice.addEventListener("change", () => {
    state.theme = choice.value;
    showTheme();
  });
  const bar = make("div", { class: "controls" });
  bar.append(labelled("theme", choice));
  main.querySelector("header").prepend(bar);
}

function showTheme() {
  if (state.theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = state.theme;
}

// --- tables

const rowsOf = (table) => [...table.tBodies[0].rows];

/** The number that a cell begins with, NaN where it begins with none: `[91.04, 99.29]` is sorted by 91.04. */
function leading(text) {
  return Number.parseFloat(text.replaceAll(",", (comma, at) => (/^,\d{3}(?!\d)/.test(text.slice(at)) ? "" : ",")).replace(/^[[(+]/, "").replace("−", "-"));
}

/** Rows in order of a column; rows without a value there come last, equal ones stay as they were. */
function sorted(rows, column, isNumber, sign) {
  const texts = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
  const whole = isNumber || rows.every((row) => texts.get(row) !== "" && !Number.isNaN(Number(texts.get(row))));
  const none = (row) => (whole ? Number.isNaN(leading(texts.get(row))) : texts.get(row) === "");
  return [...rows].sort((a, b) => {
    if (none(a) || none(b)) return none(a) - none(b);
    const one = texts.get(a), other = texts.get(b);
    return sign * (whole ? leading(one) - leading(other) : one.localeCompare(other, "en", { numeric: true }));
  });
}

function showOrder(table, original) {
  const order = state.order.get(table.dataset.name);
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (order && order.column === column) head.setAttribute("aria-sort", order.sign > 0 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  });
  const isNumber = order && table.tHead.rows[0].cells[order.column].classList.contains("number");
  table.tBodies[0].append(...(order ? sorted(original, order.column, isNumber, order.sign) : original));
}

function sortable(table) {
  const original = rowsOf(table), name = table.dataset.name;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = make("button", { type: "button", class: "sort", id: `${name}-sort-${column}` }, head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const order = state.order.get(name);
      const here = order && order.column === column ? order.sign : 0;
      if (here < 0) state.order.delete(name);
      else state.order.set(name, { column, sign: here ? -1 : 1 });
      showOrder(table, original);
    });
  });
  showOrder(table, original);
}

function filterable(table) {
  const name = table.dataset.name, rows = rowsOf(table), heads = [...table.tHead.rows[0].cells];
  const bar = make("div", { class: "controls" });
  const search = make("input", { type: "search", id: `${name}-text`, autocomplete: "off" });
  search.value = state.text.get(name) || "";
  bar.append(labelled("filter", search));
  const chosen = state.choices.get(name) || {};
  heads.forEach((head, column) => {
    if (!("choices" in head.dataset)) return;
    const values = [...new Set(rows.map((row) => row.cells[column].textContent))];
    if (values.length < 2 || values.length > 60) return;
    const choice = make("select", { id: `${name}-choice-${column}` });
    choice.append(make("option", { value: "" }, "all"));
    values.forEach((value, place) => choice.append(make("option", { value: String(place) }, value)));
    choice.value = String(Math.max(values.indexOf(chosen[column]), -1));
    if (choice.selectedIndex < 0) choice.value = "";
    choice.addEventListener("change", () => {
      if (choice.value === "") delete chosen[column];
      else chosen[column] = values[Number(choice.value)];
      show();
    });
    bar.append(labelled(head.textContent, choice));
  });
  const count = make("output", { class: "count" });
  bar.append(count);
  const show = () => {
    state.text.set(name, search.value);
    state.choices.set(name, chosen);
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = Object.entries(chosen).every(([column, value]) => row.cells[column].textContent === value);
      row.hidden = !(fits && words.every((word) => text.includes(word)));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = shown === rows.length ? `${rows.length} rows` : `${shown} of ${rows.length} rows`;
  };
  search.addEventListener("input", show);
  table.closest(".scroll").before(bar);
  show();
  return bar;
}

// --- picked rows and marks

function pickable(table, bar) {
  for (const row of rowsOf(table)) {
    if (!row.dataset.key) continue;
    const cell = row.cells[0], text = cell.textContent;
    const button = make("button", { type: "button", class: "pick", id: `${table.dataset.name}-pick-${row.dataset.key}` }, text);
    button.setAttribute("aria-label", `${text}: pick, to see it in the pictures`);
    button.addEventListener("click", () => pick(row.dataset.key));
    cell.replaceChildren(button);
  }
  const clear = make("button", { type: "button", class: "clear" }, "none picked");
  clear.addEventListener("click", () => {
    state.picked.clear();
    showPicked();
  });
  if (bar) bar.append(clear);
}

function pick(key) {
  if (!state.picked.delete(key)) state.picked.add(key);
  showPicked();
}

function showPicked() {
  document.body.classList.toggle("picking", state.picked.size > 0);
  for (const element of document.querySelectorAll("main [data-key]")) {
    const picked = state.picked.has(element.dataset.key);
    element.classList.toggle("picked", picked);
    element.querySelector("button.pick")?.setAttribute("aria-pressed", String(picked));
  }
  for (const clear of document.querySelectorAll("button.clear")) {
    clear.textContent = state.picked.size ? `unpick ${state.picked.size}` : "none picked";
    clear.disabled = !state.picked.size;
  }
}

// --- what marks say

const tip = make("div", { id: "tip", role: "status" });

/** The heading and the cell of each column of the first table row of this key, as pairs of texts. */
function details(key) {
  const row = [...document.querySelectorAll("main tr[data-key]")].find((each) => each.dataset.key === key);
  if (!row) return [];
  const heads = row.closest("table").tHead.rows[0].cells;
  return [...row.cells].map((cell, column) => [heads[column].textContent, cell.textContent]);
}

function showTip(mark, x, y) {
  const list = make("dl");
  for (const [head, cell] of details(mark.dataset.key)) if (cell) list.append(make("dt", {}, head), make("dd", {}, cell));
  tip.replaceChildren(make("p", {}, mark.dataset.says), list);
  tip.classList.add("shown");
  const room = document.documentElement;
  tip.style.left = `${Math.max(4, Math.min(x + 14, room.clientWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${Math.max(4, y + 14 + tip.offsetHeight > room.clientHeight ? y - 14 - tip.offsetHeight : y + 14)}px`;
}

function hideTip() {
  tip.classList.remove("shown");
  for (const mark of document.querySelectorAll(".current")) mark.classList.remove("current");
}

function telling(svg) {
  // The titles would be shown a second time, by the browser.
  for (const title of svg.querySelectorAll("title")) {
    title.parentElement.setAttribute(title.parentElement === svg ? "aria-label" : "data-says", title.textContent);
    title.remove();
  }
  const marks = [...svg.querySelectorAll("[data-key]")];
  if (!marks.length) return;
  svg.setAttribute("tabindex", "0");
  svg.addEventListener("pointermove", (event) => {
    const mark = event.target.closest("[data-key]");
    if (mark) showTip(mark, event.clientX, event.clientY);
    else hideTip();
  });
  svg.addEventListener("pointerleave", hideTip);
  svg.addEventListener("blur", hideTip);
  svg.addEventListener("click", (event) => {
    const mark = event.target.closest("[data-key]");
    if (mark) pick(mark.dataset.key);
  });
  let place = -1;
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") hideTip();
    else if (event.key === "Enter" && place >= 0) pick(marks[place].dataset.key);
    else if (step) {
      hideTip();
      place = (place + step + marks.length) % marks.length;
      const box = marks[place].getBoundingClientRect();
      marks[place].classList.add("current");
      showTip(marks[place], box.right, box.bottom);
    } else return;
    event.preventDefault();
  });
}

// --- all of it

function begin() {
  const main = document.querySelector("main");
  themeSwitch(main);
  for (const table of main.querySelectorAll("table")) {
    if (table.tBodies[0].rows.length < 2) continue;
    const bar = filterable(table);
    sortable(table);
    if (table.querySelector("tbody tr[data-key]")) pickable(table, bar);
  }
  for (const svg of main.querySelectorAll("svg[role=img]")) telling(svg);
  showPicked();
}

/** Puts a newer page in the place of this one; scroll, theme, order, filters, picked rows and focus stay. */
async function refresh() {
  const answer = await fetch("./", { cache: "no-store" });
  if (!answer.ok) return false;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const scrolled = new Map([...document.querySelectorAll("main table")].map((table) => {
    const box = table.closest(".scroll");
    return [table.dataset.name, [box.scrollLeft, box.scrollTop]];
  }));
  const focused = document.activeElement?.id, [x, y] = [scrollX, scrollY];
  hideTip();
  document.title = fresh.title;
  document.querySelector("style").replaceWith(document.adoptNode(fresh.querySelector("style")));
  document.querySelector("main").replaceWith(document.adoptNode(fresh.querySelector("main")));
  begin();
  for (const table of document.querySelectorAll("main table")) {
    const [left, top] = scrolled.get(table.dataset.name) || [0, 0];
    Object.assign(table.closest(".scroll"), { scrollLeft: left, scrollTop: top });
  }
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  scrollTo(x, y);
  return true;
}

/** Asks the page's own server every two seconds whether there is a newer page. */
async function watch(version) {
  let newest = version;
  try {
    const answer = await fetch("./version", { cache: "no-store" });
    if (answer.ok) newest = (await answer.text()).trim();
    if (newest !== version && !(await refresh())) newest = version;
    delete document.documentElement.dataset.lost;
  } catch {
    newest = version;
    document.documentElement.dataset.lost = "";
  }
  setTimeout(() => watch(newest), 2000);
}

begin();
document.body.append(tip);
if ("version" in document.documentElement.dataset) watch(document.documentElement.dataset.version);
