import { describe, expect, it } from "vitest";
import { neededCutout, suffices } from "../src/image/cutout";
import { onOtherGrid } from "../src/image/phase_reference";
import { fit, onGrid, zoom } from "../src/image/viewport";
import { image } from "./image";

/** 600 x 1000 pixels at [40, 80] of the canvas, averaged over 10 x 10. */
const coarse = image(60, 100, () => [1, 0]);
coarse.header.downsample = 10;
coarse.header.first_px = [40, 80];
const size = { width: 800, height: 400 };
const whole = fit(coarse, size);
const { x, y } = { x: 400, y: 200 };

/** A cut-out as it would come. */
function answered({ region, downsample }: NonNullable<ReturnType<typeof neededCutout>>) {
  const { row, col, rows, cols } = region;
  const array = image(Math.ceil(rows / downsample), Math.ceil(cols / downsample), () => [1, 0]);
  array.header = { ...array.header, downsample, first_px: [row, col] };
  return array;
}

describe("cut-outs", () => {
  it("are needed once a pixel is larger than one of the screen", () => {
    const close = 1e-8; // A pixel is 2e-8 by 1e-8 metres.
    expect(neededCutout(coarse, { ...whole, metresPerPixel: 2 * close }, size, 1024)).toBeNull();
    expect(neededCutout(coarse, { ...whole, metresPerPixel: close }, size, 1024)?.downsample).toBe(
      5,
    );
    const fine = { ...coarse, header: { ...coarse.header, downsample: 1 } };
    expect(neededCutout(fine, { ...whole, metresPerPixel: 1e-10 }, size, 1024)).toBeNull();
  });

  it("are of what is seen, with a margin, and no finer than the screen", () => {
    const view = zoom(whole, size, x, y, 40);
    const needed = neededCutout(coarse, view, size, 1024)!;
    const step_m = view.metresPerPixel;
    expect(needed.downsample).toBe(Math.max(1, Math.floor((step_m * 10) / 2e-8)));
    const { seen, region } = needed;
    // What is seen, in pixels of the canvas: its middle and size.
    const middle = onGrid(coarse, view.y_m, view.x_m);
    expect(seen.row + seen.rows / 2).toBeCloseTo(40 + 10 * (middle.row + 0.5), 0);
    expect(seen.col + seen.cols / 2).toBeCloseTo(80 + 10 * (middle.col + 0.5), 0);
    expect(Math.abs(seen.rows - (400 * step_m) / 2e-9)).toBeLessThan(2);
    expect(Math.abs(seen.cols - (800 * step_m) / 1e-9)).toBeLessThan(2);
    expect(region.row).toBeLessThan(seen.row);
    expect(region.row + region.rows).toBeGreaterThan(seen.row + seen.rows);
  });

  it("are never larger than what is allowed", () => {
    for (let factor = 1; factor < 1e4; factor *= 1.3) {
      for (const most of [64, 100, 1024]) {
        const needed = neededCutout(coarse, zoom(whole, size, 100, 77, factor), size, most);
        if (needed === null) continue;
        const { region, downsample } = needed;
        expect(Math.max(region.rows, region.cols)).toBeLessThanOrEqual(most * downsample);
        expect(downsample).toBeLessThan(10);
        expect(region.row).toBeGreaterThanOrEqual(40);
        expect(region.row + region.rows).toBeLessThanOrEqual(640);
        expect(region.col + region.cols).toBeLessThanOrEqual(1080);
      }
    }
  });

  it("are not needed of what is not there", () => {
    const away = { y_m: 1, x_m: 1, metresPerPixel: 1e-10 };
    expect(neededCutout(coarse, away, size, 1024)).toBeNull();
  });

  it("do as long as what is seen is in them and they are as fine", () => {
    const view = zoom(whole, size, x, y, 40);
    const needed = neededCutout(coarse, view, size, 1024)!;
    const got = answered(needed);
    expect(suffices(got, needed)).toBe(true);
    const moved = { ...view, x_m: view.x_m + 100 * view.metresPerPixel };
    expect(suffices(got, neededCutout(coarse, moved, size, 1024)!)).toBe(true);
    const far = { ...view, x_m: view.x_m + 500 * view.metresPerPixel };
    expect(suffices(got, neededCutout(coarse, far, size, 1024)!)).toBe(false);
    const closer = neededCutout(coarse, zoom(view, size, x, y, 1e3), size, 1024)!;
    expect(suffices({ ...got, header: { ...got.header, downsample: 9 } }, closer)).toBe(false);
  });

  it("have the same phase at the same place", () => {
    const reference = { constant: 0.3, perRow: 0.02, perCol: -0.05 };
    const fine = image(30, 30, () => [1, 0]);
    fine.header = {
      ...fine.header,
      pixel_size_m: [2e-9, 1e-9],
      origin_m: [-1e-6 + 7 * 2e-8, 3e-6 + 11 * 1e-8],
    };
    const there = onOtherGrid(reference, coarse, fine);
    expect(there.constant).toBeCloseTo(0.3 + 7 * 0.02 - 11 * 0.05);
    expect(there.constant + 10 * there.perRow).toBeCloseTo(0.3 + 8 * 0.02 - 11 * 0.05);
    expect(there.constant + 10 * there.perCol).toBeCloseTo(0.3 + 7 * 0.02 - 12 * 0.05);
  });
});
