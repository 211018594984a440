/**
 * Which part of an object that was averaged down has to be had at a finer resolution: what is seen,
 * once one of its pixels is larger than one of the screen.
 */

import type { ComplexArray } from "../data/array_file";
import { type Size, type Viewport, onGrid, onSample } from "./viewport";

/** In pixels of the canvas at full resolution. */
export interface Region {
  row: number;
  col: number;
  rows: number;
  cols: number;
}

export interface Cutout {
  /** What is asked for: what is seen, and a margin so that small moves need nothing new. */
  region: Region;
  seen: Region;
  /** Over how many pixels along each axis it is averaged. */
  downsample: number;
}

/** Of what is seen, on each side. */
const MARGIN = 0.25;

/**
 * What is needed of `image` in a view; null when it is fine enough as it is.
 *
 * @param most_px pixels of a cut-out along each axis.
 */
export function neededCutout(
  image: ComplexArray,
  view: Viewport,
  size: Size,
  most_px: number,
): Cutout | null {
  const { downsample, pixel_size_m, first_px } = image.header;
  const seen = seenOf(image, view, size);
  if (downsample === 1 || seen === null) return null;
  const finest = Math.floor((view.metresPerPixel * downsample) / Math.max(...pixel_size_m));
  const fits = Math.ceil(Math.max(seen.rows, seen.cols) / most_px);
  const needed = Math.max(1, finest, fits);
  if (needed >= downsample) return null;
  const [row, rows] = widened(seen.row, seen.rows, first_px[0], image.rows * downsample);
  const [col, cols] = widened(seen.col, seen.cols, first_px[1], image.cols * downsample);
  return { region: { row, col, rows, cols }, seen, downsample: needed };

  function widened(begin: number, length: number, first: number, all: number): [number, number] {
    const margin = Math.floor(Math.min(MARGIN * length, (needed * most_px - length) / 2));
    const from = Math.max(first, begin - margin);
    return [from, Math.min(first + all, begin + length + margin) - from];
  }
}

/** Whether a cut-out that is there does for what is needed. */
export function suffices(cutout: ComplexArray, { seen, downsample }: Cutout): boolean {
  const { header, rows, cols } = cutout;
  const [row, col] = header.first_px;
  const step = header.downsample;
  return (
    step <= downsample &&
    row <= seen.row &&
    col <= seen.col &&
    row + rows * step >= seen.row + seen.rows &&
    col + cols * step >= seen.col + seen.cols
  );
}

/** The part of an image that is on the screen; null when none of it is. */
function seenOf(image: ComplexArray, view: Viewport, size: Size): Region | null {
  const { downsample, first_px } = image.header;
  const upper = onSample(view, size, 0, 0);
  const lower = onSample(view, size, size.width, size.height);
  const first = onGrid(image, upper.y_m, upper.x_m);
  const last = onGrid(image, lower.y_m, lower.x_m);
  // Pixel k of an image reaches from k - 1/2 to k + 1/2.
  const begin = (at: number) => Math.floor(Math.max(0, at + 0.5) * downsample);
  const end = (at: number, count: number) => Math.ceil(Math.min(count, at + 0.5) * downsample);
  const [row, col] = [begin(first.row), begin(first.col)];
  const rows = end(last.row, image.rows) - row;
  const cols = end(last.col, image.cols) - col;
  if (rows <= 0 || cols <= 0) return null;
  return { row: first_px[0] + row, col: first_px[1] + col, rows, cols };
}
