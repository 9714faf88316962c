// A transcript as text, subtitles and JSON. Segments are {start, end, text, confidence, words: [{start, end, text, confidence}]}.

const LINE = 42; // characters of a subtitle's line, of which there are two
const LONGEST = 7; // seconds of a subtitle
const PAUSE = 1; // seconds between two words that end a subtitle

export const TYPES = { txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json" };

export function format(name, transcript) {
  const { segments } = transcript;
  if (name === "txt") return segments.map((segment) => segment.text + "\n").join("");
  if (name === "json") return JSON.stringify(transcript, null, 2) + "\n";
  const cues = segments.flatMap(cuesOf);
  if (name === "srt") {
    return cues.map((cue, place) => `${place + 1}\n${span(cue, ",")}\n${cue.text}\n\n`).join("");
  }
  return "WEBVTT\n\n" + cues.map((cue) => `${span(cue, ".")}\n${escaped(cue.text)}\n\n`).join("");
}

// The text of a segment, cut so that each piece is a word with what stands before it: [{before, word}], and what is left.
export function pieces(segment) {
  const found = [];
  let place = 0;
  for (const word of segment.words) {
    const at = segment.text.indexOf(word.text, place);
    if (at < 0) return { found: segment.words.map((one, index) => ({ before: index ? " " : "", word: one })), rest: "" };
    found.push({ before: segment.text.slice(place, at), word });
    place = at + word.text.length;
  }
  return { found, rest: segment.text.slice(place) };
}

// One segment in subtitles of two lines at most, cut where words have times.
export function cuesOf(segment) {
  if (!segment.words.length) return segment.text ? [{ ...segment, text: wrapped(segment.text) }] : [];
  const cues = [];
  let taken = [];
  const textOf = () => taken.map(({ before, word }) => before + word.text).join("").trim();
  const close = () => {
    if (taken.length) cues.push({ start: taken[0].word.start, end: taken.at(-1).word.end, text: wrapped(textOf()) });
    taken = [];
  };
  for (const piece of pieces(segment).found) {
    const { before, word } = piece;
    if (taken.length) {
      const isFull = textOf().length + before.length + word.text.length > 2 * LINE - 8; // room for uneven lines
      const isLong = word.end - taken[0].word.start > LONGEST;
      const isLate = word.start - taken.at(-1).word.end > PAUSE;
      if (isFull || isLong || isLate) close();
    }
    taken.push(piece);
    if (/[.?!…。？！]["'”’»)\]]*$/.test(word.text)) close();
  }
  close();
  return cues;
}

// Two lines about equally long, where one is not enough.
function wrapped(text) {
  if (text.length <= LINE) return text;
  const spaces = [...text.matchAll(/ /g)].map((match) => match.index);
  if (!spaces.length) return text;
  const middle = spaces.reduce((best, at) =>
    Math.abs(at - text.length / 2) < Math.abs(best - text.length / 2) ? at : best);
  return `${text.slice(0, middle)}\n${text.slice(middle + 1)}`;
}

function span(cue, point) {
  return `${clock(cue.start, point)} --> ${clock(Math.max(cue.end, cue.start + 0.001), point)}`;
}

function clock(seconds, point) {
  const whole = Math.round(Math.max(0, seconds) * 1000);
  const parts = [Math.floor(whole / 3600000), Math.floor(whole / 60000) % 60, Math.floor(whole / 1000) % 60];
  return parts.map((part) => String(part).padStart(2, "0")).join(":") + point + String(whole % 1000).padStart(3, "0");
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
