// What an utterance looks like and sounds like. Read before report.js, which says which of them are shown.
//
// Texts get into the page as text nodes only, never as markup.
"use strict";

const SECOND = 110; // pixels of a spectrogram

const data = JSON.parse(document.getElementById("data").textContent);

/** An element with classes, text and children. */
function element(name, className = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null));
  return made;
}

const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const percent = (errors, words) => (words ? `${((100 * errors) / words).toFixed(1)} %` : "n/a");

/** The columns [operation, reference word, hypothesis word] of one system in one utterance. */
function columns(row, system) {
  const text = system.references[row] ?? data.references[row];
  const reference = text ? text.split(" ") : [];
  const operations = system.operations[row];
  if (!operations) return reference.map((word) => ["=", word, word]);
  const hypothesis = system.hypotheses[row] ? system.hypotheses[row].split(" ") : [];
  let referencePlace = 0;
  let hypothesisPlace = 0;
  return [...operations].map((operation) => [
    operation,
    operation === "I" ? null : reference[referencePlace++],
    operation === "D" || operation === "o" ? null : hypothesis[hypothesisPlace++],
  ]);
}

// ---------------------------------------------------------------- utterances

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
  for (const [operation, word, other] of columns(row, system)) {
    const marked = operation in KINDS;
    const gone = operation === "o";
    const column = element(
      "span",
      marked ? `column ${operation}` : "column",
      element("span", word === null ? "ref gap" : "ref", word === null ? "\u2013" : gone ? `(${word})` : word),
      isRight ? null : element("span", other === null ? "hyp gap" : "hyp", other ?? (gone ? "" : "\u2013")),
      isRight ? null : element("span", "mark", marked && !gone ? operation : ""),
    );
    if (marked) column.title = `${KINDS[operation]}: ${word ?? "nothing"} \u2192 ${other ?? "nothing"}`;
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
    if (player.currentTime < player.first - 0.01 || player.currentTime >= player.last)
      player.currentTime = player.first;
  });
  player.addEventListener("timeupdate", () => {
    if (player.currentTime >= (player.until ?? player.last)) halt(player);
  });
  player.addEventListener("error", () => {
    if (player.error) player.title = "The browser cannot play this file, or does not find it.";
  });
  return player;
}

function halt(player) {
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

/** A spectrogram with axes, the words below it where they are spoken, and a line that moves while it plays. */
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
    const confidenceText = confidence === null ? "" : `, confidence ${confidence.toFixed(2)}`;
    const kind = operation in KINDS ? `, ${KINDS[operation]}` : "";
    word.title =
      operation === "D" ? `${text}: deletion` : `${text}: ${start.toFixed(2)} to ${end.toFixed(2)} s${confidenceText}${kind}`;
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
    if (player.currentTime >= (player.until ?? player.last)) halt(player); // finer than timeupdate
    head.style.left = `${(100 * (player.currentTime - player.first)) / seconds}%`;
    if (!player.paused) requestAnimationFrame(move);
  };
  player.addEventListener("playing", () => {
    head.hidden = false;
    move();
  });
  image.addEventListener("click", (event) => playStretch(player, (seconds * event.offsetX) / image.clientWidth));
}
