import { type ComplexArray, NO_DATA } from "../src/data/array_file";

/** amplitude and phase of each pixel; null: no data. */
export function image(
  rows: number,
  cols: number,
  value: (row: number, col: number) => [amplitude: number, phase: number] | null,
): ComplexArray {
  const scale = 1e-4;
  const data = new Int16Array(2 * rows * cols);
  for (let row = 0; row < rows; row += 1) {
    for (let col = 0; col < cols; col += 1) {
      const found = value(row, col);
      const k = 2 * (row * cols + col);
      data[k] = found ? Math.round((found[0] * Math.cos(found[1])) / scale) : NO_DATA;
      data[k + 1] = found ? Math.round((found[0] * Math.sin(found[1])) / scale) : NO_DATA;
    }
  }
  const header = {
    name: "object",
    version: 1,
    iteration: 1,
    time_s: 0,
    final: false,
    pixel_size_m: [2e-8, 1e-8] as [number, number],
    origin_m: [-1e-6, 3e-6] as [number, number],
    downsample: 1,
    shape: [rows, cols],
    first_px: [0, 0] as [number, number],
    element: "complex-i16" as const,
    scale,
  };
  return { header, scale, modes: 1, rows, cols, data };
}
