import { describe, expect, it } from "vitest";
import { CYCLIC, type ColourTable, SEQUENTIAL, hsv } from "../src/image/colour_maps";

function linear(byte: number): number {
  const v = byte / 255;
  return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
}

/** CIE L*, independently of the curves that the tables are made from. */
function lightness(table: ColourTable, k: number): number {
  const [r, g, b] = [0, 1, 2].map((c) => linear(table[4 * k + c]!));
  const y = 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  return y > 0.008856 ? 116 * Math.cbrt(y) - 16 : 903.3 * y;
}

/**
 * What somebody without red (protan) or green (deutan) receptors tells apart: lightness, and blue
 * against yellow; here the latter is blue less the mean of red and green.
 */
function distinct(table: ColourTable, a: number, b: number): number {
  const yellow = (k: number) => table[4 * k + 2]! - (table[4 * k]! + table[4 * k + 1]!) / 2;
  return Math.hypot(lightness(table, a) - lightness(table, b), (yellow(a) - yellow(b)) / 4);
}

describe("colour maps", () => {
  it.each(Object.entries(SEQUENTIAL))("%s grows lighter with each entry of four", (_, table) => {
    for (let k = 4; k < 256; k += 4) {
      expect(lightness(table, k)).toBeGreaterThan(lightness(table, k - 4));
    }
    expect(lightness(table, 255) - lightness(table, 0)).toBeGreaterThan(60);
  });

  it.each(Object.entries(CYCLIC))("%s ends where it begins", (_, table) => {
    const step = (a: number, b: number) =>
      Math.max(...[0, 1, 2].map((c) => Math.abs(table[4 * a + c]! - table[4 * b + c]!)));
    const steps = Array.from({ length: 255 }, (_, k) => step(k, k + 1));
    expect(step(255, 0)).toBeLessThanOrEqual(Math.max(...steps));
  });

  it("phases a quarter of the circle apart differ without red and green", () => {
    const table = CYCLIC["blue and yellow"];
    for (let k = 0; k < 256; k += 1) {
      expect(distinct(table, k, (k + 64) % 256)).toBeGreaterThan(15);
    }
  });

  it("hsv has the primary colours a third apart", () => {
    expect(hsv(0, 1)).toEqual([255, 0, 0]);
    expect(hsv(1 / 3, 1)).toEqual([0, 255, 0]);
    expect(hsv(2 / 3, 0.5)).toEqual([0, 0, 128]);
  });
});
