// The microphone, and what was recorded as a WAV file to play.

const SECONDS_OF_PART = 10; // samples go into parts that the browser may keep on disk

export class Recorder {
  // Opens the microphone without any processing of the browser's, which models did not learn from.
  static async open() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("Browsers give the microphone to https:// pages and to localhost only");
    }
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    let media;
    try {
      media = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      throw new Error(refusals[error.name] ?? `The microphone cannot be opened (${error.message})`);
    }
    const context = new AudioContext(); // at the device's own rate
    try {
      await context.audioWorklet.addModule("page/worklet.js");
    } catch (error) {
      media.getTracks().forEach((track) => track.stop());
      throw error;
    }
    return new Recorder(media, context);
  }

  constructor(media, context) {
    this.media = media;
    this.context = context;
    this.parts = [];
    this.blocks = [];
    this.numSamples = 0;
    this.numInBlocks = 0;
  }

  get sampleRate() {
    return this.context.sampleRate;
  }

  get seconds() {
    return this.numSamples / this.sampleRate;
  }

  // Calls `onBlock` with every block of samples (Int16Array), and `onEnd` if the device goes away.
  start(onBlock, onEnd) {
    this.node = new AudioWorkletNode(this.context, "blocks", { numberOfOutputs: 0 });
    this.stopped = new Promise((resolve) => {
      this.node.port.onmessage = ({ data }) => {
        if (data === null) return resolve();
        this.keep(data);
        onBlock(data);
      };
    });
    this.media.getTracks().forEach((track) => track.addEventListener("ended", onEnd));
    this.context.createMediaStreamSource(this.media).connect(this.node);
    return this.context.resume();
  }

  // After this no block comes.
  async stop() {
    this.node.port.postMessage("end");
    await Promise.race([this.stopped, new Promise((resolve) => setTimeout(resolve, 1000))]);
    this.media.getTracks().forEach((track) => track.stop());
    await this.context.close();
  }

  keep(block) {
    this.blocks.push(block);
    this.numSamples += block.length;
    this.numInBlocks += block.length;
    if (this.numInBlocks >= SECONDS_OF_PART * this.sampleRate) {
      this.parts.push(new Blob(this.blocks));
      this.blocks = [];
      this.numInBlocks = 0;
    }
  }

  wav() {
    const bytes = 2 * this.numSamples;
    const header = new DataView(new ArrayBuffer(44));
    const text = (at, letters) => [...letters].forEach((letter, place) => header.setUint8(at + place, letter.charCodeAt(0)));
    text(0, "RIFF");
    header.setUint32(4, 36 + bytes, true);
    text(8, "WAVEfmt ");
    header.setUint32(16, 16, true);
    header.setUint16(20, 1, true); // PCM
    header.setUint16(22, 1, true); // channel
    header.setUint32(24, this.sampleRate, true);
    header.setUint32(28, 2 * this.sampleRate, true);
    header.setUint16(32, 2, true);
    header.setUint16(34, 16, true);
    text(36, "data");
    header.setUint32(40, bytes, true);
    return new Blob([header, ...this.parts, ...this.blocks], { type: "audio/wav" });
  }
}

const refusals = {
  NotAllowedError: "The browser may not use the microphone; allow it for this page",
  NotFoundError: "There is no microphone",
  NotReadableError: "Another program holds the microphone",
};
