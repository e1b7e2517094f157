// A small organ and a small choir, made of oscillators: there is nothing to load.

export const TIMBRES = ["organ", "choir"] as const;
export type Timbre = (typeof TIMBRES)[number];

/** Of General MIDI, from 0: church organ, choir. */
export const PROGRAMS: Record<Timbre, number> = { organ: 19, choir: 52 };

/** Begin a note at a time of the context's clock; what comes back falls silent at a time. */
export type Play = (voice: number, pitch: number, at: number, seconds: number) => Playing;

export interface Playing {
  /** When it has died away. */
  until: number;
  stop(at: number): void;
}

interface Sounding {
  /** Relative strength of the partials. */
  partials: number[];
  /** In cents, of the oscillators of one note. */
  detuned: number[];
  attack: number;
  release: number;
  level: number;
  vibrato: number;
}

const SOUNDS: Record<Timbre, Sounding> = {
  // Stops of 8, 4, 2 2/3, 2 and 1 3/5 feet.
  organ: { partials: [1, 0.6, 0.28, 0.34, 0.1, 0.06, 0, 0.12], detuned: [-2.5, 2.5], attack: 0.03, release: 0.09, level: 0.15, vibrato: 0 },
  choir: { partials: Array.from({ length: 24 }, (_, i) => (i + 1) ** -1.1), detuned: [-9, 0, 8], attack: 0.09, release: 0.2, level: 0.3, vibrato: 7 },
};
/** Places in the room from left to right, high voices to low ones. */
const WIDTH = 0.7;
/** The vowel "ah": hertz, strength and sharpness of three formants. */
const FORMANTS = [[760, 1, 4], [1180, 0.5, 6], [2800, 0.22, 8]] as const;
const OPEN_BELOW = 420;
const ROOM_SECONDS = 1.7;
const ROOM = 0.22;

export function instrument(context: BaseAudioContext, timbre: Timbre, voices: number): { play: Play; output: AudioNode } {
  const sound = SOUNDS[timbre];
  const output = limiter(context);
  const dry = new GainNode(context, { gain: 1 });
  dry.connect(output);
  dry.connect(new ConvolverNode(context, { buffer: room(context) })).connect(new GainNode(context, { gain: ROOM })).connect(output);
  const wave = new PeriodicWave(context, { real: [0, ...sound.partials.map(() => 0)], imag: [0, ...sound.partials] });
  const buses = Array.from({ length: voices }, (_, voice) => {
    const place = voices > 1 ? WIDTH * ((2 * voice) / (voices - 1) - 1) : 0;
    const bus = new StereoPannerNode(context, { pan: place });
    bus.connect(dry);
    return timbre === "choir" ? mouth(context, bus) : bus;
  });
  const vibrato = sound.vibrato ? vibratoOf(context, sound.vibrato) : null;

  const play: Play = (voice, pitch, at, seconds) => {
    const gain = new GainNode(context, { gain: 0 });
    const level = (sound.level / sound.detuned.length) * balance(pitch);
    const end = at + Math.max(seconds, sound.attack);
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(level, at + sound.attack);
    gain.gain.setTargetAtTime(0, end - 0.02, sound.release / 3);
    gain.connect(buses[voice]!);
    const until = end + 2 * sound.release;
    const oscillators = sound.detuned.map((cents) => {
      const oscillator = new OscillatorNode(context, { frequency: 440 * 2 ** ((pitch - 69) / 12), detune: cents, periodicWave: wave });
      vibrato?.connect(oscillator.detune);
      oscillator.connect(gain);
      oscillator.start(at);
      oscillator.stop(until);
      return oscillator;
    });
    oscillators[0]!.onended = () => {
      for (const oscillator of oscillators) {
        if (vibrato) vibrato.disconnect(oscillator.detune);
        oscillator.disconnect();
      }
      gain.disconnect();
    };
    return {
      until,
      stop(when) {
        if (gain.gain.cancelAndHoldAtTime) gain.gain.cancelAndHoldAtTime(when);
        else gain.gain.cancelScheduledValues(when); // Firefox
        gain.gain.setTargetAtTime(0, when, 0.02);
        for (const oscillator of oscillators) oscillator.stop(Math.max(when, at) + 0.15);
      },
    };
  };
  return { play, output };
}

/** Low notes are louder than they sound, high ones sharper. */
function balance(pitch: number): number {
  return 2 ** ((60 - pitch) / 48);
}

/** Chance may add up more voices than there is room for. */
function limiter(context: BaseAudioContext): AudioNode {
  return new DynamicsCompressorNode(context, { threshold: -9, knee: 6, ratio: 12, attack: 0.004, release: 0.2 });
}

function mouth(context: BaseAudioContext, bus: AudioNode): AudioNode {
  const input = new GainNode(context);
  input.connect(new BiquadFilterNode(context, { type: "lowpass", frequency: OPEN_BELOW, Q: 0.3 })).connect(bus);
  for (const [frequency, gain, Q] of FORMANTS) {
    const formant = new BiquadFilterNode(context, { type: "bandpass", frequency, Q });
    input.connect(formant).connect(new GainNode(context, { gain })).connect(bus);
  }
  return input;
}

function vibratoOf(context: BaseAudioContext, cents: number): AudioNode {
  const depth = new GainNode(context, { gain: cents });
  const oscillator = new OscillatorNode(context, { frequency: 5.1 });
  oscillator.connect(depth);
  oscillator.start();
  return depth;
}

/** The echo of a room: noise that dies away, another for each ear. */
function room(context: BaseAudioContext): AudioBuffer {
  const length = Math.round(ROOM_SECONDS * context.sampleRate);
  const buffer = new AudioBuffer({ numberOfChannels: 2, length, sampleRate: context.sampleRate });
  let state = 12345;
  for (let channel = 0; channel < 2; channel++) {
    const samples = buffer.getChannelData(channel);
    let smooth = 0;
    for (let i = 0; i < length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const part = i / length;
      // The air takes the high notes first.
      smooth += (0.7 - 0.55 * part) * (state / 2 ** 31 - 1 - smooth);
      samples[i] = smooth * Math.exp(-6 * part) * Math.min(1, part * 60);
    }
  }
  return buffer;
}
