// The page: settings, recording, files.

import { ServerError, listModels, openStream, setKey, transcribe } from "./api.js";
import { Recorder } from "./recorder.js";
import { Result, clock } from "./result.js";

const find = (id) => document.getElementById(id);
const status = find("status");
const results = find("results");
let models = [];
let recording = null; // of the running recording: a function that ends it
let working = Promise.resolve(); // files go one after another

async function start() {
  try {
    models = await listModels();
  } catch (error) {
    if (error.status === 401 || error.status === 403) return askForKey(error.message);
    status.textContent = error.message;
    return setTimeout(start, 3000);
  }
  fillModels();
  for (const id of ["record", "files"]) find(id).disabled = false;
  status.textContent = "Ready";
}

function fillModels() {
  const chosen = find("model").value;
  find("model").replaceChildren(...models.map(({ id }) => new Option(id, id)));
  if (models.some(({ id }) => id === chosen)) find("model").value = chosen;
  fillLanguages();
}

function fillLanguages() {
  const chosen = find("language").value;
  const languages = models.find(({ id }) => id === find("model").value)?.languages ?? [];
  const names = new Intl.DisplayNames(undefined, { type: "language" });
  const options = languages.map((code) => [nameOf(names, code), code]).sort(([one], [other]) => one.localeCompare(other));
  find("language").replaceChildren(new Option(languages.length ? "found by the model" : "the model's own", ""),
    ...options.map(([name, code]) => new Option(name, code)));
  if (languages.includes(chosen)) find("language").value = chosen;
}

function nameOf(names, code) {
  try {
    return names.of(code);
  } catch {
    return code;
  }
}

function settings() {
  return Object.fromEntries(["model", "language", "prompt", "hotwords"].map((id) => [id, find(id).value.trim()]));
}

function askForKey(message) {
  status.textContent = "A key is needed";
  find("key-error").textContent = message;
  if (!find("key-dialog").open) find("key-dialog").showModal();
}

// A model that was loaded just now can say which languages it knows.
async function refresh() {
  if (models.every(({ loaded }) => loaded)) return;
  models = await listModels().catch(() => models);
  fillModels();
}

async function record() {
  const button = find("record");
  button.disabled = true;
  let recorder;
  try {
    recorder = await Recorder.open();
  } catch (error) {
    status.textContent = error.message;
    button.disabled = false;
    return;
  }
  const result = new Result(`Recording of ${new Date().toLocaleString()}`);
  results.prepend(result.element);
  let isOver = false;
  const stop = async () => {
    if (recording !== stop) return;
    recording = null;
    showRecording(false);
    await recorder.stop();
    if (!isOver) stream.finish();
    if (!isOver) result.say("Finishing");
    result.duration = recorder.seconds;
    if (recorder.numSamples) result.setAudio(recorder.wav());
  };
  const stream = openStream(recorder.sampleRate, settings(), {
    ready: refresh,
    partial: ({ text }) => result.showPartial(text),
    final: (event) => result.add(event),
    done: ({ duration }) => {
      isOver = true;
      result.finish({ language: settings().language || null, duration });
    },
    failed: (message) => {
      isOver = true;
      result.fail(message);
      stop();
    },
  });
  recording = stop;
  showRecording(true);
  await recorder.start((block) => {
    stream.push(block.slice());
    result.waveform.add(block, recorder.sampleRate, 32768);
    if (recording) result.say(`Listening, ${clock(recorder.seconds)}`);
  }, stop);
}

function showRecording(isOn) {
  const button = find("record");
  button.classList.toggle("on", isOn);
  button.querySelector(".label").textContent = isOn ? "Stop" : "Record";
  button.disabled = false;
  status.textContent = isOn ? "Listening" : "Ready";
}

function take(files) {
  for (const file of files) {
    const result = new Result(file.name);
    result.say("Waiting");
    result.setAudio(file);
    results.prepend(result.element);
    result.waveform.read(file).then((isRead) => (result.wave.hidden = !isRead));
    const wanted = settings();
    working = working.then(() => work(file, wanted, result));
  }
}

async function work(file, wanted, result) {
  const began = Date.now();
  const timer = setInterval(() => result.say(`Transcribing, ${clock((Date.now() - began) / 1000)}`), 1000);
  result.say("Transcribing");
  try {
    const { segments, language, duration } = await transcribe(file, wanted);
    segments.forEach((segment) => result.add(segment));
    result.finish({ language, duration });
    status.textContent = `${file.name} is transcribed`;
  } catch (error) {
    if (!(error instanceof ServerError)) console.error(error);
    result.fail(error.message);
    if (error.status === 401) askForKey(error.message);
  } finally {
    clearInterval(timer);
  }
  await refresh();
}

find("record").addEventListener("click", () => (recording ? recording() : record()));
find("files").addEventListener("change", ({ target }) => {
  take(target.files);
  target.value = "";
});
find("model").addEventListener("change", fillLanguages);
find("key-form").addEventListener("submit", () => {
  setKey(find("key").value.trim());
  find("key").value = "";
  start();
});

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.toggle("dragging", event.dataTransfer.types.includes("Files"));
});
addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) document.body.classList.remove("dragging");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  if (!find("files").disabled) take(event.dataTransfer.files);
});
addEventListener("beforeunload", (event) => {
  if (recording) event.preventDefault();
});

start();
