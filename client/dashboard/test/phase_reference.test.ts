import { describe, expect, it } from "vitest";
import { NO_REFERENCE, phaseReference } from "../src/image/phase_reference";
import { valueAt } from "../src/image/shading";
import { image } from "./image";

describe("phase reference", () => {
  const detail = (row: number, col: number) => 0.2 * Math.sin(row / 5) * Math.sin(col / 7);
  const turned = image(140, 90, (row, col) =>
    row < 10 ? null : [1, detail(row, col) + 2.5 + 0.03 * row - 0.11 * col],
  );

  it("finds constant and ramp, also where the phase wraps", () => {
    const reference = phaseReference(turned, true);
    expect(reference.perRow).toBeCloseTo(0.03, 3);
    expect(reference.perCol).toBeCloseTo(-0.11, 3);
    for (const [row, col] of [
      [20, 10],
      [130, 80],
      [60, 45],
    ] as const) {
      expect(valueAt(turned, row, col, reference)!.phase).toBeCloseTo(detail(row, col), 1);
    }
  });

  it("leaves a ramp alone that is to stay", () => {
    const reference = phaseReference(turned, false);
    expect([reference.perRow, reference.perCol]).toEqual([0, 0]);
  });

  it("changes nothing of the data", () => {
    const before = turned.data.slice();
    phaseReference(turned, true);
    expect(turned.data).toEqual(before);
    expect(valueAt(turned, 20, 10, NO_REFERENCE)!.amplitude).toBeCloseTo(1, 3);
  });
});
