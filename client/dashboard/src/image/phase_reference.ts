/**
 * The phase that a ptychographic object has for free: a constant, and a ramp (with a shift of the
 * probe's spectrum). Both wander from iteration to iteration. They are taken out of what is shown, and
 * never of the data.
 */

import { type ComplexArray, NO_DATA } from "../data/array_file";
import { type Grid, onGrid } from "./viewport";

/** Phase in radians at pixel (0, 0), and its growth for each pixel along rows and columns. */
export interface PhaseReference {
  constant: number;
  perRow: number;
  perCol: number;
}

export const NO_REFERENCE: PhaseReference = { constant: 0, perRow: 0, perCol: 0 };

/** Pixels that are looked at, about. */
const SAMPLES = 1 << 14;

/**
 * The reference that is left out. The ramp is the mean step of the phase from pixel to pixel, weighted
 * with the intensity, which needs no unwrapping.
 */
export function phaseReference(image: ComplexArray, ramp: boolean): PhaseReference {
  const { rows, cols, data } = image;
  const stride = Math.max(1, Math.floor(Math.sqrt((rows * cols) / SAMPLES)));
  const reference = { ...NO_REFERENCE };
  if (ramp) {
    reference.perRow = meanStep(image, stride, 1, 0);
    reference.perCol = meanStep(image, stride, 0, 1);
  }
  let re = 0;
  let im = 0;
  for (let row = 0; row < rows; row += stride) {
    for (let col = 0; col < cols; col += stride) {
      const k = 2 * (row * cols + col);
      if (data[k] === NO_DATA) continue;
      const turn = -(reference.perRow * row + reference.perCol * col);
      const cos = Math.cos(turn);
      const sin = Math.sin(turn);
      re += data[k]! * cos - data[k + 1]! * sin;
      im += data[k]! * sin + data[k + 1]! * cos;
    }
  }
  reference.constant = Math.atan2(im, re);
  return reference;
}

/** The same reference for the pixels of another array of the same object. */
export function onOtherGrid(reference: PhaseReference, from: Grid, to: Grid): PhaseReference {
  const corner = onGrid(from, ...to.header.origin_m);
  const [rows, cols] = [0, 1].map((k) => to.header.pixel_size_m[k]! / from.header.pixel_size_m[k]!);
  return {
    constant: reference.constant + reference.perRow * corner.row + reference.perCol * corner.col,
    perRow: reference.perRow * rows!,
    perCol: reference.perCol * cols!,
  };
}

function meanStep(image: ComplexArray, stride: number, down: number, right: number): number {
  const { rows, cols, data } = image;
  const next = 2 * (down * cols + right);
  let re = 0;
  let im = 0;
  for (let row = 0; row + down < rows; row += stride) {
    for (let col = 0; col + right < cols; col += stride) {
      const k = 2 * (row * cols + col);
      const a = data[k]!;
      const b = data[k + 1]!;
      const c = data[k + next]!;
      const d = data[k + next + 1]!;
      if (a === NO_DATA || c === NO_DATA) continue;
      re += a * c + b * d;
      im += a * d - b * c;
    }
  }
  return Math.atan2(im, re);
}
