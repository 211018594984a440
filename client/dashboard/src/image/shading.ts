/** How complex numbers become colours; what both renderers do, and the cursor tells. */

import { type ComplexArray, NO_DATA } from "../data/array_file";
import {
  CYCLIC,
  type ColourTable,
  type CyclicName,
  SEQUENTIAL,
  type SequentialName,
  hsvChannel,
} from "./colour_maps";
import type { PhaseReference } from "./phase_reference";

export type Quantity = "amplitude" | "phase" | "complex";
export type Range = [number, number];

export interface Shading {
  quantity: Quantity;
  /** Of the amplitude, also as the brightness of complex numbers. */
  amplitude: Range;
  /** Radians; all of them is a circle, and has a cyclic map. */
  phase: Range;
  map: SequentialName;
  cyclicMap: CyclicName;
  reference: PhaseReference;
}

export const WHOLE_CIRCLE: Range = [-Math.PI, Math.PI];

/** Whether phases on all of the circle are shown. */
export function onCircle({ quantity, phase }: Shading): boolean {
  return quantity === "phase" && phase[1] - phase[0] > 2 * Math.PI - 1e-6;
}

/** The table for what is shown; that of complex numbers is not used. */
export function tableOf(shading: Shading): ColourTable {
  return onCircle(shading) ? CYCLIC[shading.cyclicMap] : SEQUENTIAL[shading.map];
}

/** Amplitude and phase, without the reference; null where there are no data. */
export function valueAt(
  image: ComplexArray,
  row: number,
  col: number,
  reference: PhaseReference,
): { amplitude: number; phase: number } | null {
  if (row < 0 || col < 0 || row >= image.rows || col >= image.cols) return null;
  const k = 2 * (row * image.cols + col);
  const re = image.data[k]!;
  const im = image.data[k + 1]!;
  if (re === NO_DATA) return null;
  return {
    amplitude: image.scale * Math.sqrt(re * re + im * im),
    phase: wrapped(Math.atan2(im, re) - referenceAt(reference, row, col)),
  };
}

function referenceAt({ constant, perRow, perCol }: PhaseReference, row: number, col: number) {
  return constant + perRow * row + perCol * col;
}

/** In [-pi, pi). */
export function wrapped(phase: number): number {
  return phase - 2 * Math.PI * Math.floor((phase + Math.PI) / (2 * Math.PI));
}

export function fraction(value: number, range: Range): number {
  const low = range[0];
  const high = range[1];
  return high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0;
}

/** Paints each pixel of an image as RGBA; transparent where there are no data. */
export function paint(image: ComplexArray, shading: Shading, out: Uint8ClampedArray): void {
  const { rows, cols, data, scale } = image;
  const { quantity, amplitude, phase, reference } = shading;
  const table = tableOf(shading);
  // No object is made for a pixel: there are many of them, many times a second.
  for (let row = 0, k = 0; row < rows; row += 1) {
    for (let col = 0; col < cols; col += 1, k += 4) {
      const re = data[k >> 1]!;
      const im = data[(k >> 1) + 1]!;
      if (re === NO_DATA) {
        out[k + 3] = 0;
        continue;
      }
      out[k + 3] = 255;
      const bright =
        quantity === "phase" ? 0 : fraction(scale * Math.sqrt(re * re + im * im), amplitude);
      if (quantity === "amplitude") {
        copyEntry(table, bright, out, k);
        continue;
      }
      const angle = wrapped(Math.atan2(im, re) - referenceAt(reference, row, col));
      if (quantity === "phase") {
        copyEntry(table, fraction(angle, phase), out, k);
      } else {
        const hue = (angle / (2 * Math.PI) + 1) % 1;
        out[k] = hsvChannel(5, hue, bright);
        out[k + 1] = hsvChannel(3, hue, bright);
        out[k + 2] = hsvChannel(1, hue, bright);
      }
    }
  }
}

function copyEntry(table: ColourTable, part: number, out: Uint8ClampedArray, k: number): void {
  const entry = 4 * Math.min(255, Math.floor(256 * part));
  out[k] = table[entry]!;
  out[k + 1] = table[entry + 1]!;
  out[k + 2] = table[entry + 2]!;
}
