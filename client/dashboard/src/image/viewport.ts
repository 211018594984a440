/** Which part of the sample is seen. In metres, so that it stays when the picture's pixels change. */

import type { ArrayHeader } from "../data/array_file";

export interface Viewport {
  /** Sample coordinates of the middle. */
  y_m: number;
  x_m: number;
  /** Metres on the sample for a pixel of the screen. */
  metresPerPixel: number;
}

export interface Size {
  width: number;
  height: number;
}

/** An array's pixels on the sample. */
export interface Grid {
  rows: number;
  cols: number;
  header: Pick<ArrayHeader, "origin_m" | "pixel_size_m">;
}

const MARGIN = 1.04;

/** All of an image, in the middle. */
export function fit({ rows, cols, header }: Grid, size: Size): Viewport {
  const [height_m, width_m] = [rows * header.pixel_size_m[0], cols * header.pixel_size_m[1]];
  return {
    y_m: header.origin_m[0] + (height_m - header.pixel_size_m[0]) / 2,
    x_m: header.origin_m[1] + (width_m - header.pixel_size_m[1]) / 2,
    metresPerPixel: MARGIN * Math.max(height_m / size.height, width_m / size.width),
  };
}

/** Closer by `factor`, with the point under (x, y) of the screen where it is. */
export function zoom(
  view: Viewport,
  size: Size,
  x: number,
  y: number,
  factor: number,
  most_m = 1,
): Viewport {
  const metresPerPixel = Math.min(most_m, Math.max(1e-13, view.metresPerPixel / factor));
  const moved = view.metresPerPixel - metresPerPixel;
  return {
    y_m: view.y_m + (y - size.height / 2) * moved,
    x_m: view.x_m + (x - size.width / 2) * moved,
    metresPerPixel,
  };
}

export function pan(view: Viewport, right: number, down: number): Viewport {
  return {
    ...view,
    y_m: view.y_m - down * view.metresPerPixel,
    x_m: view.x_m - right * view.metresPerPixel,
  };
}

/** Sample coordinates of a point of the screen. */
export function onSample(view: Viewport, size: Size, x: number, y: number) {
  return {
    y_m: view.y_m + (y - size.height / 2) * view.metresPerPixel,
    x_m: view.x_m + (x - size.width / 2) * view.metresPerPixel,
  };
}

export function onScreen(view: Viewport, size: Size, y_m: number, x_m: number) {
  return {
    x: (x_m - view.x_m) / view.metresPerPixel + size.width / 2,
    y: (y_m - view.y_m) / view.metresPerPixel + size.height / 2,
  };
}

/** Row and column, with fractions, of a point of the sample; pixel k reaches from k - 1/2 to k + 1/2. */
export function onGrid({ header }: Grid, y_m: number, x_m: number) {
  return {
    row: (y_m - header.origin_m[0]) / header.pixel_size_m[0],
    col: (x_m - header.origin_m[1]) / header.pixel_size_m[1],
  };
}

/** Where an image lies on the screen. */
export function placed(grid: Grid, view: Viewport, size: Size) {
  const { origin_m, pixel_size_m } = grid.header;
  const corner = onScreen(
    view,
    size,
    origin_m[0] - pixel_size_m[0] / 2,
    origin_m[1] - pixel_size_m[1] / 2,
  );
  return {
    ...corner,
    width: (grid.cols * pixel_size_m[1]) / view.metresPerPixel,
    height: (grid.rows * pixel_size_m[0]) / view.metresPerPixel,
  };
}
