// The list of utterances: filtered, sorted, and drawn a piece at a time while one scrolls.
//
// Texts get into the page as text nodes only, never as markup. The state of the view stands in the address
// (#q=...&sort=...), so that a view can be linked to.
"use strict";

const PIECE = 40; // utterances drawn at once
const PRINTED = 500; // utterances drawn for a print-out
const SECOND = 110; // pixels of a spectrogram

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (name) => document.getElementById(name);
const collator = new Intl.Collator(undefined, { numeric: true });

/** An element with classes, text and children. */
function element(name, className = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null));
  return made;
}

const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const percent = (errors, words) => (words ? `${((100 * errors) / words).toFixed(1)} %` : "n/a");

// ---------------------------------------------------------------- utterances

/** Errors of one system in one utterance. No operations stand for a hypothesis that equals the reference. */
function countErrors(operations) {
  const counts = { S: 0, D: 0, I: 0 };
  for (const operation of operations) if (operation in counts) counts[operation]++;
  return { ...counts, errors: counts.S + counts.D + counts.I };
}

/** The columns [operation, reference word, hypothesis word] of one system in one utterance. */
function columns(row, system) {
  const text = system.references[row] ?? data.references[row];
  const reference = text ? text.split(" ") : [];
  const operations = system.operations[row];
  if (!operations) return reference.map((word) => ["=", word, word]);
  const hypothesis = system.hypotheses[row] ? system.hypotheses[row].split(" ") : [];
  let said = 0;
  let heard = 0;
  return [...operations].map((operation) => [
    operation,
    operation === "I" ? null : reference[said++],
    operation === "D" || operation === "o" ? null : hypothesis[heard++],
  ]);
}

/** A word pair as the table of frequent errors names it: "S nine mine", "D the", "I a". */
const errorName = (operation, said, heard) => [operation, said, heard].filter((part) => part !== null).join(" ");

function hasError(row, name) {
  return data.systems.some((system) =>
    columns(row, system).some(([operation, said, heard]) => errorName(operation, said, heard) === name),
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
  const which = shown.length === utterances.length ? many(shown.length, "utterance") : `${shown.length} of ${many(utterances.length, "utterance")}`;
  byId("count").textContent = shown.length ? `${which}, ${many(words, "word")}; ${rates.join("; ")}` : "No utterance passes the filter.";
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

function card(one) {
  const made = element("article");
  made.tabIndex = -1;
  made.dataset.id = one.id;
  const detail = [];
  if (one.speaker !== null) detail.push(one.speaker);
  detail.push(many(one.words, "word"));
  if (data.durations?.[one.row] != null) detail.push(`${data.durations[one.row].toFixed(1)} s`);
  const rates = one.counts.map((count, number) => {
    const kinds = ["S", "D", "I"].filter((kind) => count[kind]).map((kind) => `${count[kind]} ${kind}`);
    const name = data.systems[number].name;
    const rate = count.errors ? `WER ${percent(count.errors, one.words)}` : "correct";
    return element("span", "rate", `${name ? `${name}: ` : ""}${rate}${kinds.length ? ` (${kinds.join(" ")})` : ""}`);
  });
  const about = element("span", "detail", detail.join(" \u00b7 "));
  about.dir = "auto";
  const title = element("h3", "", one.id);
  title.dir = "auto";
  const player = sound(one.row);
  made.append(element("header", "", title, ...rates, about, player));
  const note = data.audio ? data.notes[data.audio[one.row]] : undefined;
  for (const system of data.systems) made.append(alignment(one.row, system));
  if (note !== undefined) made.append(element("p", "note", note));
  if (data.pictures[one.row]) made.append(spectrogram(data.pictures[one.row], player));
  return made;
}

const KINDS = { S: "substitution", D: "deletion", I: "insertion", o: "may be left out" };

function alignment(row, system) {
  const made = element("div", "alignment");
  made.dir = "auto";
  const isRight = !system.operations[row]; // then the text is shown once
  const names = isRight ? [system.name ? `ref, ${system.name}` : "both"] : ["ref", system.name || "hyp", ""];
  const labels = element("span", "column labels", ...names.map((name) => element("span", "", name)));
  labels.setAttribute("aria-hidden", "true");
  labels.dir = "ltr"; // kept out of what "auto" looks at
  made.append(labels);
  for (const [operation, said, heard] of columns(row, system)) {
    const marked = operation in KINDS;
    const gone = operation === "o";
    const column = element(
      "span",
      marked ? `column ${operation}` : "column",
      element("span", said === null ? "ref gap" : "ref", said === null ? "\u2013" : gone ? `(${said})` : said),
      isRight ? null : element("span", heard === null ? "hyp gap" : "hyp", heard ?? (gone ? "" : "\u2013")),
      isRight ? null : element("span", "mark", marked && !gone ? operation : ""),
    );
    if (marked) column.title = `${KINDS[operation]}: ${said ?? "nothing"} \u2192 ${heard ?? "nothing"}`;
    made.append(" ", column);
  }
  return made;
}

/** A player for an utterance, null where it has no audio; a stretch of a longer file ends where the utterance does. */
function sound(row) {
  const source = data.audio?.[row];
  if (typeof source !== "string") return null;
  const player = element("audio");
  player.controls = true;
  player.preload = "none";
  player.src = source;
  const fragment = source.startsWith("data:") ? null : /#t=([\d.]+),([\d.]+)$/.exec(source);
  player.first = fragment ? Number(fragment[1]) : 0;
  player.last = fragment ? Number(fragment[2]) : Infinity;
  player.setAttribute("aria-label", `audio of ${data.ids[row]}`);
  player.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== player) other.pause();
    if (player.currentTime < player.first - 0.01 || player.currentTime >= player.last) player.currentTime = player.first;
  });
  player.addEventListener("timeupdate", () => {
    if (player.currentTime >= (player.until ?? player.last)) stop(player);
  });
  player.addEventListener("error", () => {
    if (player.error) player.title = "The browser cannot play this file, or does not find it.";
  });
  return player;
}

function stop(player) {
  player.pause();
  player.until = undefined;
}

/** Play from and until seconds of the utterance. */
function playStretch(player, from, until) {
  player.until = until === undefined ? undefined : player.first + until;
  const begin = () => {
    player.currentTime = player.first + from;
    player.play();
  };
  if (player.readyState >= 1) begin();
  else {
    player.addEventListener("loadedmetadata", begin, { once: true });
    player.load();
    player.preload = "auto";
  }
}

/** A spectrogram with axes, the words below it where they are heard, and a line that moves while it plays. */
function spectrogram(picture, player) {
  const share = (seconds) => `${(100 * seconds) / picture.seconds}%`;
  const image = element("img");
  image.src = picture.png;
  image.alt = `Spectrogram, ${picture.seconds.toFixed(2)} seconds, up to ${picture.hertz} hertz`;
  const time = element("div", "time", image);
  time.style.width = `max(100%, ${Math.round(picture.seconds * SECOND)}px)`;
  const words = element("div", picture.words.some((word) => word[3] === "D") ? "words two" : "words");
  for (const [start, end, text, operation, confidence] of picture.words) {
    const word = element(player && operation !== "D" ? "button" : "span", `word ${operation}`, text);
    if (operation in KINDS) word.append(element("sup", "", operation));
    word.dir = "auto";
    word.style.left = share(start);
    if (operation !== "D") word.style.width = share(end - start);
    const sure = confidence === null ? "" : `, confidence ${confidence.toFixed(2)}`;
    const kind = operation in KINDS ? `, ${KINDS[operation]}` : "";
    word.title = operation === "D" ? `${text}: deletion` : `${text}: ${start.toFixed(2)} to ${end.toFixed(2)} s${sure}${kind}`;
    if (word.localName === "button") {
      word.type = "button";
      word.addEventListener("click", () => playStretch(player, start, end));
    }
    words.append(word);
    for (const moment of operation === "D" ? [] : [start, end]) {
      const edge = element("i", "edge");
      edge.style.left = share(moment);
      time.append(edge);
    }
  }
  if (picture.words.length) time.append(words);
  time.append(ruler(picture.seconds, share));
  if (player) follow(player, image, time, picture.seconds);
  const axis = element("div", "axis");
  axis.style.height = "10rem";
  for (let hertz = 0; hertz <= picture.hertz; hertz += picture.hertz > 4000 ? 2000 : 1000) {
    const tick = element("span", "", hertz ? `${hertz / 1000} kHz` : "0");
    tick.style.bottom = `${(100 * hertz) / picture.hertz}%`;
    axis.append(tick);
  }
  const pan = element("div", "pan", time);
  pan.tabIndex = 0;
  pan.setAttribute("role", "group");
  pan.setAttribute("aria-label", "spectrogram and words over time");
  const made = element("figure", "", element("div", "sight", axis, pan));
  if (!picture.words.length) made.append(element("figcaption", "", "The hypothesis has no word times."));
  return made;
}

function ruler(seconds, share) {
  const step = seconds < 1 ? 0.2 : seconds < 3 ? 0.5 : 1;
  const made = element("div", "ruler");
  for (let number = 0; number * step < seconds - 0.05; number++) {
    const tick = element("span", "", number ? `${Number((number * step).toFixed(1))}` : "0 s");
    tick.style.left = share(number * step);
    made.append(tick);
  }
  return made;
}

function follow(player, image, time, seconds) {
  const head = element("i", "head");
  head.hidden = true;
  time.append(head);
  const move = () => {
    if (player.currentTime >= (player.until ?? player.last)) stop(player); // finer than timeupdate
    head.style.left = `${(100 * (player.currentTime - player.first)) / seconds}%`;
    if (!player.paused) requestAnimationFrame(move);
  };
  player.addEventListener("playing", () => {
    head.hidden = false;
    move();
  });
  image.addEventListener("click", (event) => playStretch(player, (seconds * event.offsetX) / image.clientWidth));
}

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
