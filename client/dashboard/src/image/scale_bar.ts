/** A bar of a round length. */

import { metres } from "../units";

export interface ScaleBar {
  length_m: number;
  length_px: number;
  label: string;
}

/** The longest bar of 1, 2 or 5 times a power of ten that is no longer than `most_px`. */
export function scaleBar(metresPerPixel: number, most_px: number): ScaleBar {
  const most_m = metresPerPixel * most_px;
  const power = 10 ** Math.floor(Math.log10(most_m));
  const factor = [5, 2, 1].find((n) => n * power <= most_m) ?? 1;
  const length_m = factor * power;
  return { length_m, length_px: length_m / metresPerPixel, label: metres(length_m) };
}

/** Draws it with its right end at (right, bottom). */
export function drawScaleBar(
  context: CanvasRenderingContext2D,
  bar: ScaleBar,
  right: number,
  bottom: number,
  unit: number,
): void {
  context.font = `600 ${13 * unit}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "bottom";
  const left = right - bar.length_px;
  context.fillStyle = "rgba(0, 0, 0, 0.6)";
  context.fillRect(left - 8 * unit, bottom - 28 * unit, bar.length_px + 16 * unit, 34 * unit);
  context.fillStyle = "#fff";
  context.fillRect(left, bottom - 5 * unit, bar.length_px, 4 * unit);
  context.fillText(bar.label, (left + right) / 2, bottom - 8 * unit);
}
