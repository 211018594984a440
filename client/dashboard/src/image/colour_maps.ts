/**
 * Colour maps, made from curves in OKLab (Björn Ottosson, 2020), in which equal distances look about
 * equal. Those that are the default can be told apart with any of the common colour deficiencies: they
 * vary lightness, and blue against yellow.
 */

/** 256 colours, RGBA. */
export type ColourTable = Uint8Array;

const SIZE = 256;

interface Lab {
  lightness: number;
  /** Green to red. */
  a: number;
  /** Blue to yellow. */
  b: number;
}

function linearRgb({ lightness, a, b }: Lab): [number, number, number] {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

function gamma(linear: number): number {
  const v = Math.min(1, Math.max(0, linear));
  return v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055;
}

/** Bytes of a colour; one that no screen shows is made paler until it can be shown. */
export function srgb(colour: Lab): [number, number, number] {
  for (let part = 1; ; part -= 0.02) {
    const rgb = linearRgb({ ...colour, a: colour.a * part, b: colour.b * part });
    if (part <= 0 || rgb.every((v) => v >= -1e-4 && v <= 1 + 1e-4)) {
      return rgb.map((v) => Math.round(255 * gamma(v))) as [number, number, number];
    }
  }
}

function table(curve: (t: number) => Lab, cyclic = false): ColourTable {
  const out = new Uint8Array(4 * SIZE);
  for (let k = 0; k < SIZE; k += 1) {
    const [r, g, b] = srgb(curve(k / (cyclic ? SIZE : SIZE - 1)));
    out.set([r, g, b, 255], 4 * k);
  }
  return out;
}

/** From dark to light along an arc of hues (degrees). */
function arc(dark: number, light: number, firstHue: number, lastHue: number, chroma: number) {
  return (t: number): Lab => {
    const hue = ((firstHue + (lastHue - firstHue) * t) * Math.PI) / 180;
    return {
      lightness: dark + (light - dark) * t,
      a: chroma * Math.cos(hue),
      b: chroma * Math.sin(hue),
    };
  };
}

const blueYellow = (t: number): Lab => ({
  lightness: 0.22 + 0.72 * t,
  a: 0,
  b: -0.1 + 0.25 * t,
});

/** A circle in the plane of lightness and blue against yellow: light at 0, dark at pi. */
const circle = (t: number): Lab => {
  const phase = 2 * Math.PI * (t - 0.5);
  return {
    lightness: 0.58 + 0.32 * Math.cos(phase),
    a: 0.02,
    b: 0.15 * Math.sin(phase),
  };
};

/** From blue over nearly white to orange; the middle is nothing. */
const blueOrange = (t: number): Lab => {
  const side = 2 * t - 1;
  return {
    lightness: 0.95 - 0.5 * Math.abs(side),
    a: side > 0 ? 0.09 * side : 0,
    b: 0.15 * side,
  };
};

/** The bytes as they are: steps that look about equal, from black to white. */
function greys(): ColourTable {
  return Uint8Array.from({ length: 4 * SIZE }, (_, k) => (k % 4 === 3 ? 255 : k >> 2));
}

export const SEQUENTIAL = {
  grey: greys(),
  "blue to yellow": table(blueYellow),
  "violet to yellow": table(arc(0.25, 0.92, 300, 105, 0.15)),
  ember: table(arc(0.08, 0.97, -10, 100, 0.16)),
};

export const CYCLIC = {
  "blue and yellow": table(circle, true),
  hue: table((t) => arc(0.72, 0.72, -180, 180, 0.12)(t), true),
};

export const DIVERGING = table(blueOrange);

export type SequentialName = keyof typeof SEQUENTIAL;
export type CyclicName = keyof typeof CYCLIC;

/** RGB bytes of a hue (a part of the circle, 0 red) at full saturation, times value 0..1. */
export function hsv(hue: number, value: number): [number, number, number] {
  return [hsvChannel(5, hue, value), hsvChannel(3, hue, value), hsvChannel(1, hue, value)];
}

/** One of them: `shift` is 5 for red, 3 for green, 1 for blue. */
export function hsvChannel(shift: number, hue: number, value: number): number {
  const k = (shift + 6 * hue) % 6;
  return Math.round(255 * value * (1 - Math.max(0, Math.min(k, 4 - k, 1))));
}
