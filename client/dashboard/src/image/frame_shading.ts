/** How counts of the detector, and how far they are from what was expected, become colours. */

import { type ColourTable, DIVERGING, SEQUENTIAL } from "./colour_maps";

/** RGB of pixels that are not to be trusted: grey, which neither map has on its way. */
export const UNTRUSTED = [112, 124, 136] as const;
export const COUNT_COLOURS = SEQUENTIAL.ember;
export const RESIDUAL_COLOURS = DIVERGING;

const LEAST_RESIDUAL = 3;
/** Part of the residuals that may be beyond the ends of the scale. */
const LEFT_OUT = 0.005;
const SAMPLES = 1 << 14;

/** Where counts lie on a scale from 0 to `most`: as ln(1 + counts), so that 0 has a place, too. */
export function countScale(most: number): (counts: number) => number {
  const per = 1 / Math.log1p(most);
  return (counts) => Math.min(1, Math.log1p(Math.max(0, counts)) * per);
}

/** Where residuals lie on a scale from -limit to limit. */
export function residualScale(limit: number): (residual: number) => number {
  return (residual) => Math.min(1, Math.max(0, 0.5 + residual / (2 * limit)));
}

/** The most counts of a pixel, and at least one. */
export function mostCounts(counts: Float32Array): number {
  let most = 1;
  for (const value of counts) if (value > most) most = value;
  return most;
}

/** (measured - expected) / sqrt(expected + 1): about 1 where there is noise alone. */
export function residual(counts: number, expected: number): number {
  return (counts - expected) / Math.sqrt(expected + 1);
}

export function residuals(counts: Float32Array, expected: Float32Array): Float32Array {
  return counts.map((value, k) => residual(value, expected[k]!));
}

/** A round number within which nearly all residuals are. */
export function residualLimit(values: Float32Array): number {
  const stride = Math.max(1, Math.floor(values.length / SAMPLES));
  const sizes: number[] = [];
  for (let k = 0; k < values.length; k += stride) {
    if (Number.isFinite(values[k])) sizes.push(Math.abs(values[k]!));
  }
  sizes.sort((a, b) => a - b);
  const size = sizes[Math.floor((1 - LEFT_OUT) * (sizes.length - 1))] ?? 0;
  if (size <= LEAST_RESIDUAL) return LEAST_RESIDUAL;
  const power = 10 ** Math.floor(Math.log10(size));
  return power * ([1, 2, 5].find((factor) => factor * power >= size) ?? 10);
}

/** Paints each value as RGBA with the colour of its part of the scale. */
export function paintValues(
  values: Float32Array,
  part: (value: number) => number,
  table: ColourTable,
  out: Uint8ClampedArray,
): void {
  for (let k = 0; k < values.length; k += 1) {
    const value = values[k]!;
    const at = 4 * k;
    out[at + 3] = 255;
    if (Number.isNaN(value)) {
      out.set(UNTRUSTED, at);
      continue;
    }
    const entry = 4 * Math.min(255, Math.floor(256 * part(value)));
    out[at] = table[entry]!;
    out[at + 1] = table[entry + 1]!;
    out[at + 2] = table[entry + 2]!;
  }
}

/** Powers of ten from 0 up to `most`, and `most` itself where it is not close to one of them. */
export function countTicks(most: number): number[] {
  const ticks = [0];
  for (let power = 1; power <= most; power *= 10) ticks.push(power);
  const last = ticks[ticks.length - 1]!;
  return most / last > 3 ? [...ticks, most] : [...ticks.slice(0, -1), most];
}
