import { describe, expect, it } from "vitest";
import { decodeComplex, decodeReal, modeOf } from "../src/data/array_file";
import { file } from "./file";

describe("array file", () => {
  it("gives modes, rows and columns of complex arrays", () => {
    const data = Int16Array.from({ length: 2 * 2 * 3 * 2 }, (_, k) => k);
    const header = { name: "probe", element: "complex-i16", scale: 0.5, shape: [2, 3, 2] };
    const probe = decodeComplex(file(header, data));
    expect([probe.modes, probe.rows, probe.cols, probe.scale]).toEqual([2, 3, 2, 0.5]);
    expect([...modeOf(probe, 1).data]).toEqual([...data.subarray(12)]);
  });

  it("gives tables of either precision", () => {
    const narrow = { name: "coverage", element: "f4", shape: [1, 2] };
    expect([...decodeReal(file(narrow, Float32Array.of(1, 2.5))).data]).toEqual([1, 2.5]);
    const wide = { name: "points", element: "f8", shape: [2, 1] };
    expect([...decodeReal(file(wide, Float64Array.of(1e-9, Number.NaN))).data]).toEqual([
      1e-9,
      Number.NaN,
    ]);
  });

  it("refuses what is cut off or is not what was asked for", () => {
    const header = { name: "object", element: "complex-i16", shape: [2, 2] };
    expect(() => decodeComplex(file(header, new Int16Array(6)))).toThrow("12 bytes, expected 16");
    expect(() => decodeComplex(new ArrayBuffer(2))).toThrow("cut off");
    expect(() => decodeComplex(file(header, new Int16Array(8)).slice(0, 20))).toThrow("cut off");
    expect(() => decodeReal(file(header, new Int16Array(8)))).toThrow("is complex-i16");
  });
});
