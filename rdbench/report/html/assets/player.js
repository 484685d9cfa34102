/* Plays several versions of one clip in step: all buffers run on one clock from one moment, each
   behind a gain of its own, and switching fades from one gain to another in 10 ms. The gains of a
   fade add up to one, so that switching between equal signals changes no sample. */
"use strict";

(() => {
  const FADE = 0.01; // seconds
  const LEAD = 0.03; // between the command and the common start
  const QUIET = 1e-6;

  /* FLAC in base64 as an AudioBuffer at its own rate, which stands in the stream's first block. */
  const decode = async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
    const rate = (bytes[18] << 12) | (bytes[19] << 4) | (bytes[20] >> 4);
    return new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes.buffer);
  };

  /* The same audio at another length, so that loops stay in step. */
  const fitted = (buffer, length) => {
    if (buffer.length === length) return buffer;
    const { numberOfChannels, sampleRate } = buffer;
    const made = new AudioBuffer({ numberOfChannels, sampleRate, length });
    for (let channel = 0; channel < numberOfChannels; channel += 1) {
      made.copyToChannel(buffer.getChannelData(channel).subarray(0, length), channel);
    }
    return made;
  };

  const rms = (buffer) => {
    let sum = 0;
    for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
      for (const sample of buffer.getChannelData(channel)) sum += sample * sample;
    }
    return Math.sqrt(sum / (buffer.length * buffer.numberOfChannels));
  };

  const peak = (buffer) => {
    let most = 0;
    for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
      for (const sample of buffer.getChannelData(channel)) most = Math.max(most, Math.abs(sample));
    }
    return most;
  };

  /* Gains that bring every version to the level (RMS) of the first; all are turned down alike
     where one would be clipped. Silence is left alone. */
  const levels = (buffers) => {
    const wanted = buffers.length ? rms(buffers[0]) : 0;
    const gains = buffers.map((buffer) => {
      const own = rms(buffer);
      return own > QUIET && wanted > QUIET ? wanted / own : 1;
    });
    const loudest = Math.max(1, ...buffers.map((buffer, i) => gains[i] * peak(buffer)));
    return gains.map((gain) => gain / loudest);
  };

  /* Connects and starts all buffers at one moment; `fade(index)` switches between them. */
  const graph = (context, buffers, { when, offset, loop, gains, chosen }) => {
    const nodes = buffers.map((buffer, index) => {
      const source = new AudioBufferSourceNode(context, { buffer, loop });
      const level = new GainNode(context, { gain: gains[index] });
      const gate = new GainNode(context, { gain: index === chosen ? 1 : 0 });
      source.connect(level).connect(gate).connect(context.destination);
      source.start(when, offset);
      return { source, level, gate };
    });
    const ramp = (parameter, from, to) => {
      const now = context.currentTime;
      parameter.cancelScheduledValues(now);
      parameter.setValueAtTime(from, now);
      parameter.linearRampToValueAtTime(to, now + FADE);
    };
    return {
      nodes,
      fade: (index) =>
        nodes.forEach(({ gate }, i) => ramp(gate.gain, gate.gain.value, i === index ? 1 : 0)),
      relevel: (wanted) =>
        nodes.forEach(({ level }, i) => ramp(level.gain, level.gain.value, wanted[i])),
      loop: (wanted) => nodes.forEach(({ source }) => (source.loop = wanted)),
      stop: () => {
        for (const { source, gate } of nodes) {
          source.onended = null;
          source.stop();
          gate.disconnect();
        }
      },
    };
  };

  const contexts = new Map();

  /* One context per sample rate: browsers allow few, and none before the user has acted. */
  const contextOf = (sampleRate) => {
    if (!contexts.has(sampleRate)) {
      let made;
      try {
        made = new AudioContext({ sampleRate, latencyHint: "interactive" });
      } catch {
        made = new AudioContext();
      }
      contexts.set(sampleRate, made);
    }
    return contexts.get(sampleRate);
  };

  /* buffers: of one rate and length. change(): called when playing begins, ends or switches. */
  class Player {
    constructor(buffers, change) {
      const length = buffers.length ? buffers[0].length : 0;
      this.buffers = buffers.map((buffer) => fitted(buffer, length));
      this.levelled = levels(this.buffers);
      this.change = change;
      this.chosen = 0;
      this.offset = 0; // where it stands, or stood when it last began
      this.looping = true;
      this.level = false;
      this.starts = 0; // how often sources were started: switching starts none
      this.running = null;
    }

    get seconds() {
      return this.buffers.length ? this.buffers[0].duration : 0;
    }

    get playing() {
      return this.running !== null;
    }

    get gains() {
      return this.level ? this.levelled : this.buffers.map(() => 1);
    }

    get position() {
      if (!this.playing) return this.offset;
      const passed = Math.max(0, this.running.context.currentTime - this.running.when);
      const at = this.offset + passed;
      return this.looping ? at % this.seconds : Math.min(at, this.seconds);
    }

    async play() {
      if (this.playing || !this.buffers.length) return;
      const context = contextOf(this.buffers[0].sampleRate);
      await context.resume();
      if (this.playing) return;
      this.begin(context);
      this.change();
    }

    begin(context) {
      if (this.offset >= this.seconds) this.offset = 0;
      const when = context.currentTime + LEAD;
      const { offset, gains, chosen } = this;
      const made = graph(context, this.buffers, {
        when,
        offset,
        gains,
        chosen,
        loop: this.looping,
      });
      this.starts += 1;
      this.running = { context, when, graph: made };
      made.nodes[0].source.onended = () => {
        this.running = null;
        this.offset = 0;
        this.change();
      };
    }

    pause() {
      if (!this.playing) return;
      this.offset = this.position;
      this.running.graph.stop();
      this.running = null;
      this.change();
    }

    seek(seconds) {
      const at = Math.min(Math.max(seconds, 0), this.seconds);
      const context = this.running?.context;
      if (context) {
        this.running.graph.stop();
        this.running = null;
      }
      this.offset = at;
      if (context) this.begin(context);
    }

    choose(index) {
      this.chosen = index;
      this.running?.graph.fade(index);
      this.change();
    }

    setLevel(wanted) {
      this.level = wanted;
      this.running?.graph.relevel(this.gains);
    }

    setLoop(wanted) {
      if (this.playing) {
        this.offset = this.position;
        this.running.when = this.running.context.currentTime;
        this.running.graph.loop(wanted);
      }
      this.looping = wanted;
    }
  }

  Object.assign(rdbench, { Player, decodeAudio: decode, audioGraph: graph });
})();
