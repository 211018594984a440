import { describe, expect, it } from "vitest";
import { decodeFrame } from "../src/data/frame_file";
import {
  COUNT_COLOURS,
  RESIDUAL_COLOURS,
  UNTRUSTED,
  countScale,
  countTicks,
  mostCounts,
  paintValues,
  residualLimit,
  residualScale,
  residuals,
} from "../src/image/frame_shading";
import { withRoom } from "../src/views/tick_bar";
import { file } from "./file";

describe("frame file", () => {
  const header = { frame_id: 5, version: 2, downsample: 1 };

  it("has counts, and what is expected if that is known", () => {
    const both = file({ ...header, shape: [2, 1, 2] }, Float32Array.of(1, Number.NaN, 3, 4));
    const frame = decodeFrame(both);
    expect([...frame.counts]).toEqual([1, Number.NaN]);
    expect([...frame.expected!]).toEqual([3, 4]);
    const one = decodeFrame(file({ ...header, shape: [1, 1, 2] }, Float32Array.of(1, 2)));
    expect(one.expected).toBeNull();
  });

  it("is refused when it is cut off", () => {
    expect(() => decodeFrame(file({ ...header, shape: [2, 2, 2] }, new Float32Array(7)))).toThrow(
      "7 pixels",
    );
  });
});

describe("colours of a frame", () => {
  const painted = (value: number, part: (v: number) => number, table: Uint8Array) => {
    const out = new Uint8ClampedArray(4);
    paintValues(Float32Array.of(value), part, table, out);
    return [...out];
  };

  it("are logarithmic in the counts, from black for none", () => {
    const part = countScale(99);
    expect(painted(0, part, COUNT_COLOURS)).toEqual([...COUNT_COLOURS.subarray(0, 4)]);
    expect(painted(9.01, part, COUNT_COLOURS)).toEqual([...COUNT_COLOURS.subarray(512, 516)]);
    expect(painted(99, part, COUNT_COLOURS)).toEqual([...COUNT_COLOURS.subarray(1020)]);
    expect(painted(-3, part, COUNT_COLOURS)).toEqual([...COUNT_COLOURS.subarray(0, 4)]);
  });

  it("mark pixels that are not to be trusted, with one that neither map has", () => {
    const part = () => 0.5;
    expect(painted(Number.NaN, part, COUNT_COLOURS)).toEqual([...UNTRUSTED, 255]);
    for (const table of [COUNT_COLOURS, RESIDUAL_COLOURS]) {
      for (let k = 0; k < 256; k += 1) {
        const off = UNTRUSTED.map((value, c) => Math.abs(value - table[4 * k + c]!));
        expect(Math.max(...off)).toBeGreaterThan(25);
      }
    }
  });

  it("tell more from less than expected by the side", () => {
    expect([-50, 0, 50].map(residualScale(5))).toEqual([0, 0.5, 1]);
    const [less, more] = [0, 1020].map((at) => RESIDUAL_COLOURS.subarray(at, at + 3));
    expect(less![2]).toBeGreaterThan(less![0]!);
    expect(more![0]).toBeGreaterThan(more![2]!);
  });
});

describe("scales of a frame", () => {
  it("end at the most counts", () => {
    expect(mostCounts(Float32Array.of(2, Number.NaN, 70))).toBe(70);
    expect(mostCounts(Float32Array.of(0, Number.NaN))).toBe(1);
    expect(countTicks(1)).toEqual([0, 1]);
    expect(countTicks(700)).toEqual([0, 1, 10, 100, 700]);
    expect(countTicks(1200)).toEqual([0, 1, 10, 100, 1200]);
  });

  it("have residuals in units of their noise", () => {
    const found = residuals(Float32Array.of(10, 0, Number.NaN), Float32Array.of(3, 8, 1));
    expect([...found]).toEqual([3.5, Math.fround(-8 / 3), Number.NaN]);
  });

  it("hold nearly all residuals", () => {
    expect(residualLimit(Float32Array.of(0.5, -1, Number.NaN))).toBe(3);
    expect(residualLimit(Float32Array.from({ length: 1000 }, (_, k) => k / 10))).toBe(100);
    expect(residualLimit(Float32Array.from({ length: 1000 }, () => -17))).toBe(20);
    expect(residualLimit(Float32Array.of(Number.NaN))).toBe(3);
  });

  it("have numbers that do not lie on one another", () => {
    const ticks = [0, 0.01, 0.5, 0.95, 1].map((part) => ({ part, label: String(part) }));
    expect(withRoom(ticks).map(({ label }) => label)).toEqual(["0", "0.5", "1"]);
  });
});
