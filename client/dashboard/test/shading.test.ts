import { describe, expect, it } from "vitest";
import { statistics, wholeOf } from "../src/image/auto_range";
import { CYCLIC, SEQUENTIAL } from "../src/image/colour_maps";
import { NO_REFERENCE } from "../src/image/phase_reference";
import { type Shading, WHOLE_CIRCLE, paint, tableOf, wrapped } from "../src/image/shading";
import { image } from "./image";

const shading: Shading = {
  quantity: "amplitude",
  amplitude: [0, 2],
  phase: WHOLE_CIRCLE,
  map: "grey",
  cyclicMap: "blue and yellow",
  reference: NO_REFERENCE,
};

function painted(value: [number, number] | null, change: Partial<Shading>): number[] {
  const out = new Uint8ClampedArray(4);
  paint(
    image(1, 1, () => value),
    { ...shading, ...change },
    out,
  );
  return [...out];
}

describe("shading", () => {
  it("maps amplitudes within their range, and clips beyond", () => {
    expect(painted([1.004, 0.3], {})).toEqual([...SEQUENTIAL.grey.subarray(4 * 128, 4 * 129)]);
    expect(painted([2.5, 0], {})).toEqual([...SEQUENTIAL.grey.subarray(4 * 255)]);
    expect(painted([0.5, 0], { amplitude: [1, 2] })).toEqual([...SEQUENTIAL.grey.subarray(0, 4)]);
  });

  it("shows phases on the circle when all of it is the range", () => {
    const phase = { quantity: "phase" } as const;
    expect(painted([1, 0], phase)).toEqual([...CYCLIC["blue and yellow"].subarray(512, 516)]);
    expect(tableOf({ ...shading, ...phase, phase: [-1, 1] })).toBe(SEQUENTIAL.grey);
  });

  it("takes the reference out", () => {
    const reference = { constant: 1.5, perRow: 0, perCol: 0 };
    expect(painted([1, 1.5], { quantity: "phase", reference })).toEqual(
      painted([1, 0], { quantity: "phase" }),
    );
  });

  it("shows complex numbers as hue and brightness", () => {
    const complex = { quantity: "complex" } as const;
    expect(painted([2, 0], complex)).toEqual([255, 0, 0, 255]);
    expect(painted([1, Math.PI], complex)).toEqual([0, 128, 128, 255]);
  });

  it("is transparent where there are no data", () => {
    expect(painted(null, {})[3]).toBe(0);
  });

  it("wraps phases", () => {
    expect(wrapped(3 * Math.PI + 0.1)).toBeCloseTo(-Math.PI + 0.1);
    expect(wrapped(-0.1)).toBeCloseTo(-0.1);
  });
});

describe("statistics", () => {
  const sample = image(50, 40, (row, col) =>
    row < 5 ? null : [1 + col / 40, row < 25 ? -0.2 : 0.2],
  );

  it("are of the pixels with data", () => {
    const found = statistics(sample, NO_REFERENCE, wholeOf(sample))!;
    expect(found.meanAmplitude).toBeCloseTo(1.4875, 3);
    expect(found.amplitude[0]).toBeCloseTo(1, 2);
    expect(found.amplitude[1]).toBeCloseTo(1.975, 2);
    expect(found.sdPhase).toBeCloseTo(0.2, 2);
  });

  it("are of a region when one is given", () => {
    const box = { firstRow: 30, firstCol: 0, rows: 5, cols: 40 };
    expect(statistics(sample, NO_REFERENCE, box)!.meanPhase).toBeCloseTo(0.2, 3);
    expect(statistics(sample, NO_REFERENCE, { ...box, firstRow: 0 })).toBeNull();
  });
});
