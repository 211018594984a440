/** The points of the scan that are in use, as the array of points has them. */

import type { RealArray } from "./array_file";

/** Columns of the array; as Python's POINT_COLUMNS. */
export const POINT = {
  frameId: 0,
  row: 1,
  col: 2,
  shiftRow: 3,
  shiftCol: 4,
  light: 5,
  rFactor: 6,
  nll: 7,
  arrival: 8,
} as const;

/** A point of the scan, on the sample. */
export interface Point {
  frameId: number;
  y_m: number;
  x_m: number;
}

/**
 * @param points [points, 9 + components], rows and columns those of the window's corner.
 * @param frameShape [rows, cols] of a frame, pixels.
 */
export function pointAt(points: RealArray, k: number, frameShape: [number, number]): Point {
  const { data, cols, header } = points;
  const at = k * cols;
  const [y_m, x_m] = [data[at + POINT.row]!, data[at + POINT.col]!].map(
    (corner, axis) =>
      header.origin_m[axis]! + (corner + frameShape[axis]! / 2) * header.pixel_size_m[axis]!,
  );
  return { frameId: data[at + POINT.frameId]!, y_m: y_m!, x_m: x_m! };
}

/** The point nearest to a place on the sample, and no further than `within_m` from it. */
export function nearest<T extends Point>(
  points: T[],
  y_m: number,
  x_m: number,
  within_m: number,
): T | null {
  let found: T | null = null;
  let least_m = within_m;
  for (const point of points) {
    const distance_m = Math.hypot(point.y_m - y_m, point.x_m - x_m);
    if (distance_m > least_m) continue;
    found = point;
    least_m = distance_m;
  }
  return found;
}

/** Index and R-factor of the point with the largest one of those not in `seen`; null: there is none. */
export function worstFit(
  points: RealArray,
  seen: ReadonlySet<number>,
): { k: number; rFactor: number } | null {
  let worst: { k: number; rFactor: number } | null = null;
  for (let k = 0; k < points.rows; k += 1) {
    const rFactor = points.data[k * points.cols + POINT.rFactor]!;
    if (!(rFactor > (worst?.rFactor ?? Number.NEGATIVE_INFINITY))) continue;
    if (!seen.has(points.data[k * points.cols + POINT.frameId]!)) worst = { k, rFactor };
  }
  return worst;
}

/** Ids of all frames. */
export function frameIds(points: RealArray): Set<number> {
  return new Set(
    Array.from({ length: points.rows }, (_, k) => points.data[k * points.cols + POINT.frameId]!),
  );
}
