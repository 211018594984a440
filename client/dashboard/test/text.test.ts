import { describe, expect, it } from "vitest";
import type { RealArray } from "../src/data/array_file";
import { reasonWords, stateWord } from "../src/data/messages";
import { bytes, count, counts, duration, metres, number, rate, short } from "../src/units";
import { columns, labelled, tick } from "../src/views/curves_panel";

describe("units", () => {
  it("are those that people use", () => {
    expect(metres(2.5e-6)).toBe("2.5 µm");
    expect(metres(-3e-8)).toBe("-30 nm");
    expect(metres(0)).toBe("0 m");
    expect(bytes(1.5e9)).toBe("1.50 GB");
    expect(bytes(12)).toBe("12 B");
    expect(count(1234567)).toBe("1 234 567");
    expect(rate(12.345)).toBe("12.3");
    expect([3, 12345, 0.12345, 1234.5].map(counts)).toEqual(["3", "12 345", "0.123", "1 235"]);
    expect([0, 950, 12345, 1.5e6].map(short)).toEqual(["0", "950", "12.3k", "1.5M"]);
    expect([duration(3.14), duration(75), duration(600), duration(7200)]).toEqual([
      "3.1 s",
      "75 s",
      "10 min",
      "2.0 h",
    ]);
    expect(number(null)).toBe("–");
    expect(number(0.05678)).toBe("0.0568");
  });

  it("are words of enumerations", () => {
    expect(stateWord("SESSION_STATE_REFINING")).toBe("refining");
    expect(reasonWords("REJECT_REASON_WRONG_SHAPE")).toBe("wrong shape");
  });
});

describe("curves", () => {
  it("leave out what cannot be drawn", () => {
    const data = Float64Array.of(1, 0.5, 2, Number.NaN, 3, 0);
    const table = { rows: 3, cols: 2, data } as RealArray;
    expect(columns(table, [0, 1], false)).toEqual([
      [1, 2, 3],
      [0.5, null, 0],
    ]);
    expect(columns(table, [0, 1], true)).toEqual([
      [1, 2, 3],
      [0.5, null, null],
    ]);
  });

  it("name powers of ten on a logarithmic axis", () => {
    expect(labelled([0.1, 0.2, 0.5, 1, 2])).toEqual([0.1, null, null, 1, null]);
    expect(labelled([2, 5, 10])).toEqual([2, 5, 10]);
    expect([1e-5, 0.01, 1000, 0.15000000000000002, null].map(tick)).toEqual([
      "1e-5",
      "0.01",
      "1000",
      "0.15",
      "",
    ]);
  });
});
