// The loudness of a recording over time, as a picture that grows while it is made.

const MOST_PEAKS = 4000;
const PEAK_SECONDS = 0.02; // at first; doubled whenever there are too many
const DECODING_RATE = 8000;
const LARGEST_FILE = 200e6; // bytes; beyond, decoding in a browser takes too much memory

export class Waveform {
  constructor(canvas) {
    this.canvas = canvas;
    this.peaks = [];
    this.seconds = PEAK_SECONDS;
    this.pending = { peak: 0, left: 0 };
    this.played = 0; // share that has been played
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // Samples in [-scale, scale].
  add(samples, rate, scale) {
    for (const sample of samples) {
      if (this.pending.left <= 0) this.pending.left += this.seconds * rate;
      this.pending.peak = Math.max(this.pending.peak, Math.abs(sample) / scale);
      this.pending.left -= 1;
      if (this.pending.left <= 0) {
        this.peaks.push(this.pending.peak);
        this.pending.peak = 0;
        if (this.peaks.length > MOST_PEAKS) this.halve();
      }
    }
    this.draw();
  }

  halve() {
    this.peaks = Array.from({ length: Math.floor(this.peaks.length / 2) }, (_, place) =>
      Math.max(this.peaks[2 * place], this.peaks[2 * place + 1]));
    this.seconds *= 2;
  }

  // False where the browser cannot decode the file, which the server may still be able to.
  async read(file) {
    if (file.size > LARGEST_FILE) return false;
    try {
      const context = new OfflineAudioContext(1, 1, DECODING_RATE);
      const audio = await context.decodeAudioData(await file.arrayBuffer());
      this.add(audio.getChannelData(0), DECODING_RATE, 1);
      return true;
    } catch {
      return false;
    }
  }

  set progress(share) {
    this.played = share;
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(canvas);
    const accent = style.getPropertyValue("--accent");
    const sorted = [...this.peaks].sort((one, other) => one - other);
    const loud = Math.max(0.02, sorted[Math.floor(0.98 * sorted.length)] ?? 0); // a click makes nothing else small
    const step = Math.max(2, Math.round(2 * ratio));
    for (let x = 0; x < width; x += step) {
      const first = Math.floor((x / width) * this.peaks.length);
      const last = Math.max(first + 1, Math.floor(((x + step) / width) * this.peaks.length));
      const peak = Math.min(1, Math.max(0, ...this.peaks.slice(first, last)) / loud);
      const tall = Math.max(ratio, peak * height);
      context.fillStyle = x / width < this.played ? accent : style.color;
      context.fillRect(x, (height - tall) / 2, step - ratio, tall);
    }
  }
}
