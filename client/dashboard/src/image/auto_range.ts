/** Ranges in which most of an image lies. */

import type { ComplexArray } from "../data/array_file";
import type { PhaseReference } from "./phase_reference";
import { type Range, valueAt } from "./shading";

const SAMPLES = 1 << 14;
/** Parts of the pixels that may be darker, and brighter. */
const LEFT_OUT = 0.005;

export interface Box {
  firstRow: number;
  firstCol: number;
  rows: number;
  cols: number;
}

export interface Statistics {
  amplitude: Range;
  phase: Range;
  meanAmplitude: number;
  /** Of exp(i phase). */
  meanPhase: number;
  sdPhase: number;
}

/** Of a part of an image; null when no pixel of it has data. */
export function statistics(
  image: ComplexArray,
  reference: PhaseReference,
  box: Box,
): Statistics | null {
  const stride = Math.max(1, Math.floor(Math.sqrt((box.rows * box.cols) / SAMPLES)));
  const most = Math.ceil(box.rows / stride) * Math.ceil(box.cols / stride);
  const amplitudes = new Float64Array(most);
  const phases = new Float64Array(most);
  let count = 0;
  let sum = 0;
  let re = 0;
  let im = 0;
  for (let row = box.firstRow; row < box.firstRow + box.rows; row += stride) {
    for (let col = box.firstCol; col < box.firstCol + box.cols; col += stride) {
      const value = valueAt(image, row, col, reference);
      if (value === null) continue;
      amplitudes[count] = value.amplitude;
      phases[count] = value.phase;
      count += 1;
      sum += value.amplitude;
      re += Math.cos(value.phase);
      im += Math.sin(value.phase);
    }
  }
  if (count === 0) return null;
  const length = Math.min(1, Math.hypot(re, im) / count);
  return {
    amplitude: middle(amplitudes.subarray(0, count)),
    phase: middle(phases.subarray(0, count)),
    meanAmplitude: sum / count,
    meanPhase: Math.atan2(im, re),
    sdPhase: Math.sqrt(-2 * Math.log(Math.max(length, 1e-12))),
  };
}

export function wholeOf(image: ComplexArray): Box {
  return { firstRow: 0, firstCol: 0, rows: image.rows, cols: image.cols };
}

function middle(values: Float64Array): Range {
  const sorted = values.sort();
  const skip = Math.floor(LEFT_OUT * sorted.length);
  return [sorted[skip]!, sorted[sorted.length - 1 - skip]!];
}
