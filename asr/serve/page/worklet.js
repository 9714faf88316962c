// Samples of the microphone, at the device's own rate, in blocks of a tenth of a second: 16-bit, one channel.

class Blocks extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Int16Array(Math.round(sampleRate / 10));
    this.filled = 0;
    this.port.onmessage = () => this.end();
  }

  process([channels]) {
    if (this.ended) return false;
    const first = channels[0];
    if (!first) return true;
    for (let place = 0; place < first.length; place++) {
      let sum = 0;
      for (const channel of channels) sum += channel[place];
      const sample = Math.round((sum / channels.length) * 32768);
      this.block[this.filled++] = Math.max(-32768, Math.min(32767, sample));
      if (this.filled === this.block.length) this.send();
    }
    return true;
  }

  send() {
    if (this.filled) this.port.postMessage(this.block.slice(0, this.filled));
    this.filled = 0;
  }

  end() {
    this.send();
    this.ended = true;
    this.port.postMessage(null); // after the last block
  }
}

registerProcessor("blocks", Blocks);
