// One recording on the page: waveform, player, words, downloads.

import { TYPES, format, pieces } from "./formats.js";
import { Waveform } from "./waveform.js";

const DOUBTFUL = 0.5; // confidence below which a word is marked
const PAUSE = 1; // seconds of silence that begin a paragraph

export class Result {
  constructor(name) {
    this.name = name;
    this.segments = [];
    this.language = null;
    this.duration = 0;
    this.words = []; // {element, start, end}, in order
    this.element = document.getElementById("result").content.firstElementChild.cloneNode(true);
    for (const part of ["wave", "final", "partial", "state", "error"]) this[part] = this.element.querySelector(`.${part}`);
    this.audio = this.element.querySelector("audio");
    this.element.querySelector("h2").textContent = name;
    this.audio.setAttribute("aria-label", `Recording ${name}`);
    this.waveform = new Waveform(this.wave);
    this.listen();
  }

  listen() {
    this.audio.addEventListener("play", () => this.follow());
    for (const name of ["seeked", "pause", "ended"]) this.audio.addEventListener(name, () => this.mark());
    this.wave.addEventListener("click", (event) => {
      if (this.audio.hidden || !this.length) return;
      this.audio.currentTime = (event.offsetX / this.wave.clientWidth) * this.length;
    });
    this.final.addEventListener("click", ({ target }) => this.playFrom(target.closest(".word")));
    this.final.addEventListener("keydown", (event) => this.steer(event));
    this.element.querySelector("footer").addEventListener("click", ({ target }) => {
      if (target.dataset.format) this.download(target.dataset.format);
    });
  }

  get length() {
    return Number.isFinite(this.audio.duration) ? this.audio.duration : this.duration;
  }

  say(text) {
    this.state.textContent = text;
  }

  fail(message) {
    this.say("");
    this.partial.textContent = "";
    this.error.textContent = message;
    this.offer();
  }

  // The words that may still change.
  showPartial(text) {
    this.partial.textContent = text;
  }

  add(segment) {
    this.partial.textContent = "";
    if (!segment.text) return;
    const before = this.segments.at(-1);
    this.segments.push(segment);
    const goesOn = before && segment.start - before.end < PAUSE;
    const line = goesOn ? this.final.lastElementChild : document.createElement("p");
    if (goesOn) line.append(" ");
    const { found, rest } = segment.words.length ? pieces(segment) : { found: [{ before: "", word: segment }], rest: "" };
    for (const { before, word } of found) line.append(before, this.wordElement(word));
    line.append(rest);
    if (!goesOn) this.final.append(line, "\n");
  }

  wordElement(word) {
    const element = document.createElement("span");
    element.className = "word";
    element.textContent = word.text;
    if (word.confidence != null) {
      element.title = `${word.start.toFixed(2)} s, confidence ${Math.round(100 * word.confidence)} %`;
      element.classList.toggle("doubtful", word.confidence < DOUBTFUL);
    }
    if (!this.audio.hidden) this.makeButton(element);
    this.words.push({ element, start: word.start, end: word.end });
    return element;
  }

  makeButton(element) {
    element.role = "button";
    element.tabIndex = this.words.some(({ element: other }) => other.tabIndex === 0) ? -1 : 0; // one stop for Tab
    const doubt = element.classList.contains("doubtful") ? ", unsure" : "";
    element.ariaLabel = `${element.textContent}${doubt}`;
  }

  // There is audio to play: words become clickable.
  setAudio(blob) {
    this.audio.src = URL.createObjectURL(blob);
    this.audio.hidden = false;
    this.wave.classList.add("seekable");
    for (const { element } of this.words) this.makeButton(element);
    document.getElementById("legend").hidden = false;
  }

  finish({ language, duration }) {
    this.language = language;
    this.duration = duration;
    this.partial.textContent = "";
    this.say(this.segments.length ? clock(duration) : "No speech was found");
    this.offer();
  }

  offer() {
    this.element.querySelector("footer").hidden = !this.segments.length;
  }

  playFrom(element) {
    const word = this.words.find((one) => one.element === element);
    if (!word || this.audio.hidden) return;
    this.audio.currentTime = word.start;
    this.audio.play();
    this.focusOn(element);
  }

  focusOn(element) {
    for (const { element: other } of this.words) if (other.tabIndex === 0) other.tabIndex = -1;
    element.tabIndex = 0;
    element.focus();
  }

  steer(event) {
    const place = this.words.findIndex(({ element }) => element === event.target);
    if (place < 0) return;
    const targets = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: this.words.length - 1 };
    if (event.key in targets) {
      const word = this.words[targets[event.key]];
      if (word) this.focusOn(word.element);
    } else if (event.key === "Enter" || event.key === " ") {
      this.playFrom(event.target);
    } else {
      return;
    }
    event.preventDefault();
  }

  follow() {
    this.mark();
    if (!this.audio.paused) requestAnimationFrame(() => this.follow());
  }

  // Show where playback is.
  mark() {
    const now = this.audio.currentTime;
    if (this.length) this.waveform.progress = now / this.length;
    const isOver = this.audio.ended;
    const current = isOver ? undefined : this.words.findLast(({ start }) => start <= now + 0.02);
    if (current === this.current) return;
    if (this.current) {
      this.current.element.classList.remove("current");
      this.current.element.removeAttribute("aria-current");
    }
    this.current = current;
    if (!current) return;
    current.element.classList.add("current");
    current.element.setAttribute("aria-current", "true");
    if (!this.audio.paused) current.element.scrollIntoView({ block: "nearest" });
  }

  download(name) {
    const { language, duration, segments } = this;
    const content = format(name, { name: this.name, language, duration, text: this.text, segments });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: `${TYPES[name]};charset=utf-8` }));
    link.download = `${this.name.replace(/\.[^.]{1,5}$/, "").replace(/[\\/:*?"<>|]/g, "-")}.${name}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  get text() {
    return this.segments.map((segment) => segment.text).join(" ");
  }
}

export function clock(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
