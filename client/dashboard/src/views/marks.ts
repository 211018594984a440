/** Where frames were taken, coloured by what is known of each. */

import type { RealArray } from "../data/array_file";
import { POINT, pointAt } from "../data/point_table";
import { SEQUENTIAL } from "../image/colour_maps";
import type { Mark } from "../image/pane";

const COLUMNS = {
  "by frame id": POINT.frameId,
  "by arrival": POINT.arrival,
  "by shift": POINT.shiftRow,
  "by light": POINT.light,
  "by R-factor": POINT.rFactor,
  "by NLL": POINT.nll,
} as const;
/** Since the picture before. */
const NEW = "what is new";
export type MarkColour = keyof typeof COLUMNS | typeof NEW;
export const MARK_COLOURS = [...Object.keys(COLUMNS), NEW] as MarkColour[];

const MOST = 20_000;
const UNKNOWN = "#888";
const IS_NEW = "#ffb000";
const IS_OLD = "#5a7fa6";

/**
 * @param points [points, 9 + components].
 * @param before ids of the frames of the picture before; null: there was none.
 * @param frameShape [rows, cols] of a frame, pixels.
 */
export function marks(
  points: RealArray,
  by: MarkColour,
  before: Set<number> | null,
  frameShape: [number, number],
): Mark[] {
  const stride = Math.max(1, Math.ceil(points.rows / MOST));
  const indices = Array.from({ length: Math.ceil(points.rows / stride) }, (_, k) => k * stride);
  const colours = by === NEW ? news(points, indices, before) : values(points, indices, by);
  return indices.map((k, n) => ({ ...pointAt(points, k, frameShape), colour: colours[n]! }));
}

function news(points: RealArray, indices: number[], before: Set<number> | null): string[] {
  const known = (k: number) =>
    before === null || before.has(points.data[k * points.cols + POINT.frameId]!);
  return indices.map((k) => (known(k) ? IS_OLD : IS_NEW));
}

function values(points: RealArray, indices: number[], by: keyof typeof COLUMNS): string[] {
  const { data, cols } = points;
  const of = indices.map((k) =>
    by === "by shift"
      ? Math.hypot(data[k * cols + POINT.shiftRow]!, data[k * cols + POINT.shiftCol]!)
      : data[k * cols + COLUMNS[by]]!,
  );
  const known = of.filter(Number.isFinite).sort((a, b) => a - b);
  const low = known[0] ?? 0;
  const high = known[known.length - 1] ?? 0;
  const table = SEQUENTIAL["violet to yellow"];
  return of.map((value) => {
    const part = high > low ? (value - low) / (high - low) : 0;
    const entry = 4 * Math.round(255 * part);
    return Number.isFinite(value)
      ? `rgb(${table[entry]} ${table[entry + 1]} ${table[entry + 2]})`
      : UNKNOWN;
  });
}
