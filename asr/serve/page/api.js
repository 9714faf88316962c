// The server: models, files, streams. Nothing else is ever asked.

const KEY = "asr.key";

export class ServerError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer; is it still running?");
  }
  if (!response.ok) throw new ServerError(await messageOf(response), response.status);
  return response.json();
}

async function messageOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answers ${response.status} ${response.statusText}`;
  }
}

export async function listModels() {
  return (await ask("v1/models")).data;
}

// A file as {segments, language, duration}; settings are {model, language, prompt, hotwords}.
export async function transcribe(file, settings, signal) {
  const form = new FormData();
  form.append("response_format", "verbose_json");
  for (const granularity of ["segment", "word"]) form.append("timestamp_granularities[]", granularity);
  for (const [name, value] of Object.entries(settings)) if (value) form.append(name, value);
  form.append("file", file, file.name);
  const answer = await ask("v1/audio/transcriptions", { method: "POST", body: form, signal });
  const words = answer.words.map(({ word, ...times }) => ({ text: word.trim(), ...times }));
  return { segments: answer.segments.map((segment, place, all) => ({
    start: segment.start,
    end: segment.end,
    text: segment.text.trim(),
    confidence: segment.confidence,
    words: takeUntil(words, all[place + 1]?.start ?? Infinity),
  })), language: answer.language, duration: answer.duration };
}

// Words of the next segment stay in the list.
function takeUntil(words, end) {
  const found = words.findIndex((word) => word.start >= end);
  return words.splice(0, found < 0 ? words.length : found);
}

// A stream: `push(samples)`, `finish()`; `events` has functions ready, partial, final, done and failed.
export function openStream(sampleRate, settings, events) {
  const address = new URL("v1/stream", location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const key = sessionStorage.getItem(KEY);
  const socket = new WebSocket(address, key ? ["asr", `openai-insecure-api-key.${key}`] : ["asr"]);
  socket.binaryType = "arraybuffer";
  const waiting = [];
  let isOver = false;
  const send = (message) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(message);
    else if (socket.readyState === WebSocket.CONNECTING) waiting.push(message);
  };
  const fail = (message) => {
    if (!isOver) events.failed(message);
    isOver = true;
  };
  const hotwords = settings.hotwords.split(",").map((word) => word.trim()).filter(Boolean);
  const start = { type: "start", sample_rate: sampleRate, encoding: "s16le", hotwords };
  for (const name of ["model", "language", "prompt"]) if (settings[name]) start[name] = settings[name];
  send(JSON.stringify(start));
  socket.onopen = () => waiting.splice(0).forEach(send);
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event.type === "error") fail(event.error.message);
    else if (event.type === "done") isOver = true;
    if (!isOver || event.type === "done") events[event.type]?.(event);
  };
  socket.onclose = ({ code }) => fail(code === 1006 ? "The connection to the server broke" : `The server closed (${code})`);
  return {
    push: (samples) => send(samples.buffer),
    finish: () => send(JSON.stringify({ type: "finish" })),
  };
}
