/** Where frames were taken, coloured by what is known of each. */

import type { RealArray } from "../data/array_file";
import { SEQUENTIAL } from "../image/colour_maps";
import type { Mark } from "../image/pane";

/** Columns of the array of points that can be shown; names as of Python's POINT_COLUMNS. */
const COLUMNS = {
  "by frame id": 0,
  "by shift": 3,
  "by light": 5,
  "by R-factor": 6,
  "by NLL": 7,
} as const;
export type MarkColumn = keyof typeof COLUMNS;
export const MARK_COLUMNS = Object.keys(COLUMNS) as MarkColumn[];

const MOST = 20_000;
const UNKNOWN = "#888";

/**
 * @param points [points, 8 + components], rows and columns those of the window's corner.
 * @param frameShape [rows, cols] of a frame, pixels.
 */
export function marks(points: RealArray, column: MarkColumn, frameShape: [number, number]): Mark[] {
  const { data, cols, rows, header } = points;
  const stride = Math.max(1, Math.ceil(rows / MOST));
  const indices = Array.from({ length: Math.ceil(rows / stride) }, (_, k) => k * stride * cols);
  const values = indices.map((k) =>
    column === "by shift" ? Math.hypot(data[k + 3]!, data[k + 4]!) : data[k + COLUMNS[column]]!,
  );
  const known = values.filter(Number.isFinite).sort((a, b) => a - b);
  const low = known[0] ?? 0;
  const high = known[known.length - 1] ?? 0;
  const table = SEQUENTIAL["violet to yellow"];
  return indices.map((k, n) => {
    const part = high > low ? (values[n]! - low) / (high - low) : 0;
    const entry = 4 * Math.round(255 * part);
    return {
      y_m: header.origin_m[0] + (data[k + 1]! + frameShape[0] / 2) * header.pixel_size_m[0],
      x_m: header.origin_m[1] + (data[k + 2]! + frameShape[1] / 2) * header.pixel_size_m[1],
      colour: Number.isFinite(part)
        ? `rgb(${table[entry]} ${table[entry + 1]} ${table[entry + 2]})`
        : UNKNOWN,
    };
  });
}
