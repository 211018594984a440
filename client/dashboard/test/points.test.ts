import { describe, expect, it } from "vitest";
import type { RealArray } from "../src/data/array_file";
import { frameIds, nearest, pointAt, worstFit } from "../src/data/point_table";
import { SEQUENTIAL } from "../src/image/colour_maps";
import { MARK_COLOURS, marks } from "../src/views/marks";

/** [points, 10] with one coefficient of the probe's variation, which is never shown. */
function table(...points: { id: number; arrival: number; rFactor: number; at: number }[]) {
  const rows = points.map(({ id, arrival, rFactor, at }) => [
    id,
    at,
    2 * at,
    3,
    4,
    1,
    rFactor,
    Number.NaN,
    arrival,
    99,
  ]);
  const header = { origin_m: [1e-6, 2e-6], pixel_size_m: [1e-8, 2e-8] };
  const data = Float64Array.from(rows.flat());
  return { header, rows: points.length, cols: 10, data } as unknown as RealArray;
}

const SHAPE: [number, number] = [64, 32];
const points = table(
  { id: 7, arrival: 2, rFactor: 0.1, at: 0 },
  { id: 8, arrival: 0, rFactor: 0.3, at: 10 },
  { id: 9, arrival: 1, rFactor: Number.NaN, at: 20 },
);

describe("points", () => {
  it("lie in the middle of their windows", () => {
    const point = pointAt(points, 1, SHAPE);
    expect(point.frameId).toBe(8);
    expect(point.y_m).toBeCloseTo(1e-6 + (10 + 32) * 1e-8, 12);
    expect(point.x_m).toBeCloseTo(2e-6 + (20 + 16) * 2e-8, 12);
  });

  it("are found where a click is, and not far from it", () => {
    const all = [0, 1, 2].map((k) => pointAt(points, k, SHAPE));
    const { y_m, x_m } = all[1]!;
    expect(nearest(all, y_m + 1e-9, x_m, 5e-9)).toBe(all[1]);
    expect(nearest(all, y_m + 1e-8, x_m, 5e-9)).toBeNull();
    expect(nearest([], 0, 0, 1)).toBeNull();
  });

  it("are told from the worst fit to the best", () => {
    expect(worstFit(points, new Set())).toEqual({ k: 1, rFactor: 0.3 });
    expect(worstFit(points, new Set([8]))).toEqual({ k: 0, rFactor: 0.1 });
    expect(worstFit(points, new Set([7, 8]))).toBeNull();
  });

  it("have ids", () => {
    expect([...frameIds(points)]).toEqual([7, 8, 9]);
  });
});

describe("marks", () => {
  const end = (entry: number) => {
    const [r, g, b] = SEQUENTIAL["violet to yellow"].subarray(4 * entry, 4 * entry + 3);
    return `rgb(${r} ${g} ${b})`;
  };
  const colours = (by: (typeof MARK_COLOURS)[number], before: Set<number> | null = null) =>
    marks(points, by, before, SHAPE).map(({ colour }) => colour);

  it("are coloured from the least to the largest value", () => {
    expect(colours("by frame id")).toEqual([end(0), end(128), end(255)]);
    expect(colours("by arrival")).toEqual([end(255), end(0), end(128)]);
  });

  it("are grey where nothing is known", () => {
    expect(colours("by R-factor")).toEqual([end(0), end(255), "#888"]);
    expect(colours("by NLL")).toEqual(["#888", "#888", "#888"]);
  });

  it("tell what is new since the picture before", () => {
    const by = "what is new";
    const [seven, eight, nine] = colours(by, new Set([7, 9]));
    expect(seven).toBe(nine);
    expect(eight).not.toBe(seven);
    expect(new Set(colours(by, null)).size).toBe(1);
    expect(MARK_COLOURS).toContain(by);
  });
});
