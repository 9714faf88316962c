// The list of utterances: filtered, sorted, and drawn a piece at a time while one scrolls.
//
// The state of the view stands in the address (#q=...&sort=...), so that a view can be linked to. What an utterance
// looks like stands in utterance.js, which is read before.
"use strict";

const PIECE = 40; // utterances drawn at once
const PRINTED = 500; // utterances drawn for a print-out

const byId = (name) => document.getElementById(name);
const collator = new Intl.Collator(undefined, { numeric: true });

// ---------------------------------------------------------------- utterances

/** Errors of one system in one utterance. No operations stand for a hypothesis that equals the reference. */
function countErrors(operations) {
  const counts = { S: 0, D: 0, I: 0 };
  for (const operation of operations) if (operation in counts) counts[operation]++;
  return { ...counts, errors: counts.S + counts.D + counts.I };
}

/** A word pair as the table of frequent errors names it: "S nine mine", "D the", "I a". */
const errorName = (operation, reference, hypothesis) => [operation, reference, hypothesis].filter((part) => part !== null).join(" ");

function hasError(row, name) {
  return data.systems.some((system) =>
    columns(row, system).some(([operation, reference, hypothesis]) => errorName(operation, reference, hypothesis) === name),
  );
}

const utterances = data.ids.map((id, row) => {
  const counts = data.systems.map((system) => countErrors(system.operations[row]));
  const first = data.systems[0].operations[row];
  const reference = data.references[row];
  const words = first ? first.replaceAll("I", "").length : reference ? reference.split(" ").length : 0;
  const texts = data.systems.map((system) => (system.operations[row] ? system.hypotheses[row] : ""));
  return {
    row,
    id,
    words,
    counts,
    errors: counts[0].errors,
    wer: words ? counts[0].errors / words : counts[0].errors ? Infinity : 0,
    gain: counts.length > 1 ? counts[0].errors - counts[1].errors : 0,
    speaker: data.speakers[data.speaker[row]] ?? null,
    anyErrors: counts.some((count) => count.errors),
    searched: [id, reference, ...texts].join("\n").toLowerCase(),
  };
});

// ---------------------------------------------------------------- filter and sort

const ORDERS = {
  errors: (a, b) => b.errors - a.errors || b.wer - a.wer || 0, // Infinity - Infinity is no number
  wer: (a, b) => (a.wer === b.wer ? b.errors - a.errors : b.wer - a.wer),
  longest: (a, b) => b.words - a.words,
  shortest: (a, b) => a.words - b.words,
  id: (a, b) => collator.compare(a.id, b.id),
  order: (a, b) => a.row - b.row,
  gain: (a, b) => b.gain - a.gain,
  harm: (a, b) => a.gain - b.gain,
};

let shown = []; // the utterances that pass the filter, in order
let drawn = 0; // how many of them are in the document
let error = ""; // the name of the error that utterances must have, or nothing

function state() {
  const form = new FormData(byId("tools"));
  const chosen = { q: form.get("q").trim(), speaker: form.get("speaker"), wer: form.get("wer"), error };
  chosen.only = form.get("only") ? "1" : "";
  chosen.sort = form.get("sort") === "errors" ? "" : form.get("sort");
  return chosen;
}

function restore(address) {
  const chosen = new URLSearchParams(address.slice(1));
  for (const name of ["query", "speaker", "wer"]) byId(name).value = chosen.get(byId(name).name) ?? "";
  byId("only").checked = chosen.has("only");
  const order = chosen.get("sort") ?? "errors";
  const options = [...byId("sort").options].filter((option) => !option.hidden);
  byId("sort").value = options.some((option) => option.value === order) ? order : "errors";
  error = chosen.get("error") ?? "";
}

function update() {
  const chosen = state();
  const query = chosen.q.toLowerCase();
  const least = Number(chosen.wer) / 100;
  shown = utterances.filter(
    (one) =>
      (!query || one.searched.includes(query)) &&
      (!chosen.speaker || one.speaker === chosen.speaker) &&
      (!chosen.only || one.anyErrors) &&
      one.wer >= least &&
      (!error || (one.anyErrors && hasError(one.row, error))),
  );
  shown.sort((a, b) => ORDERS[chosen.sort || "errors"](a, b) || a.row - b.row);
  byId("chosen").hidden = !error;
  byId("error").textContent = error;
  drawn = 0;
  byId("list").replaceChildren();
  drawMore(PIECE);
  tellCount();
  const parts = Object.entries(chosen).filter(([, value]) => value);
  const address = parts.length ? `#${new URLSearchParams(parts)}` : location.pathname + location.search;
  try {
    history.replaceState(null, "", address);
  } catch {
    // Some browsers forbid it in frames, or after a hundred times in a short while; the view is the same without.
  }
}

function tellCount() {
  const words = shown.reduce((sum, one) => sum + one.words, 0);
  const rates = data.systems.map((system, number) => {
    const errors = shown.reduce((sum, one) => sum + one.counts[number].errors, 0);
    return `${system.name ? `${system.name}: ` : ""}${many(errors, "error")}, WER ${percent(errors, words)}`;
  });
  const which =
    shown.length === utterances.length
      ? many(shown.length, "utterance")
      : `${shown.length} of ${many(utterances.length, "utterance")}`;
  byId("count").textContent = shown.length
    ? `${which}, ${many(words, "word")}; ${rates.join("; ")}`
    : "No utterance passes the filter.";
}

// ---------------------------------------------------------------- drawing

function drawMore(count) {
  const until = Math.min(shown.length, drawn + count);
  byId("list").append(...shown.slice(drawn, until).map(card));
  drawn = until;
  const rest = shown.length - drawn;
  byId("more").textContent = rest ? `${many(rest, "more utterance")} below` : "";
  end.unobserve(byId("more")); // an observer tells only of changes: begun anew, it tells whether the end is still near
  if (rest) end.observe(byId("more"));
}

const end = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && drawMore(PIECE), {
  rootMargin: "800px",
});

// ---------------------------------------------------------------- tables above the list

/** Columns that sort by a click: numbers by size, others by name. */
function makeSortable(table) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, place) => {
    const button = element("button", "", ...header.childNodes);
    button.type = "button";
    header.append(button);
    button.addEventListener("click", () => {
      const falling = header.getAttribute("aria-sort") === "ascending" || (place > 0 && !header.ariaSort);
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      const value = (row) => row.cells[place].textContent;
      const compare = place ? (a, b) => (parseFloat(a) || 0) - (parseFloat(b) || 0) : collator.compare;
      rows.sort((a, b) => (falling ? -1 : 1) * compare(value(a), value(b)));
      table.tBodies[0].append(...rows);
    });
  });
}

function showUtterances() {
  update();
  byId("utterances").scrollIntoView();
}

// ---------------------------------------------------------------- keys

const isPlaying = (player) => player && !player.paused;

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input:not([type=checkbox]), select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const cards = [...document.querySelectorAll("article")];
  const place = cards.indexOf(document.activeElement.closest("article"));
  if (event.key === "/") byId("query").focus();
  else if (event.key === "j") (cards[place + 1] ?? cards[place])?.focus();
  else if (event.key === "k") (cards[place - 1] ?? cards[0])?.focus();
  else if (event.key === "p") {
    const player = cards[place]?.querySelector("audio");
    if (isPlaying(player)) player.pause();
    else if (player) playStretch(player, 0);
  } else return;
  event.preventDefault();
}

// ---------------------------------------------------------------- start

function start() {
  for (const name of [...data.speakers].sort(collator.compare)) byId("speaker").append(new Option(name, name));
  for (const part of document.querySelectorAll("[data-needs]")) {
    part.hidden = part.dataset.needs === "speaker" ? !data.speakers.length : data.systems.length < 2;
  }
  byId("tools").hidden = byId("legend").hidden = false;
  for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
  restore(location.hash);
  update();
  byId("tools").addEventListener("input", update);
  byId("tools").addEventListener("submit", (event) => event.preventDefault());
  byId("tools").addEventListener("reset", () => {
    error = "";
    setTimeout(update); // after the fields are empty
  });
  byId("any").addEventListener("click", () => {
    error = "";
    update();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-speaker], button[data-error]");
    if (!button) return;
    if (button.dataset.speaker !== undefined) byId("speaker").value = button.dataset.speaker;
    else error = button.dataset.error;
    showUtterances();
  });
  document.addEventListener("keydown", press);
  addEventListener("hashchange", () => {
    restore(location.hash);
    update();
  });
  addEventListener("beforeprint", () => drawMore(Math.max(0, PRINTED - drawn)));
}

start();
