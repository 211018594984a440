import { describe, expect, it } from "vitest";
import { scaleBar } from "../src/image/scale_bar";
import { fit, onGrid, onSample, onScreen, pan, placed, zoom } from "../src/image/viewport";
import { image } from "./image";

let state = 1;
function random(): number {
  state = (state * 48271) % 2147483647;
  return state / 2147483647;
}

const size = { width: 800, height: 400 };
const picture = image(60, 100, () => [1, 0]);

describe("viewport", () => {
  it("fits all of an image, in the middle", () => {
    const view = fit(picture, size);
    const { x, y, width, height } = placed(picture, view, size);
    expect(x + width / 2).toBeCloseTo(400);
    expect(y + height / 2).toBeCloseTo(200);
    expect(width).toBeLessThanOrEqual(800);
    expect(height).toBeCloseTo(400 / 1.04);
    expect(width / height).toBeCloseTo((100 * 1e-8) / (60 * 2e-8));
  });

  it("knows where pixels lie", () => {
    expect(onGrid(picture, -1e-6 + 5 * 2e-8, 3e-6 + 7 * 1e-8).row).toBeCloseTo(5);
    expect(onGrid(picture, -1e-6 + 5 * 2e-8, 3e-6 + 7 * 1e-8).col).toBeCloseTo(7);
  });

  it("goes from the screen to the sample and back, moved and enlarged in any way", () => {
    let view = fit(picture, size);
    for (let k = 0; k < 200; k += 1) {
      const [x, y] = [random() * 800, random() * 400];
      const before = onSample(view, size, x, y);
      view = zoom(view, size, x, y, 0.5 + random());
      const after = onScreen(view, size, before.y_m, before.x_m);
      expect(after.x).toBeCloseTo(x, 4);
      expect(after.y).toBeCloseTo(y, 4);
      const moved = onScreen(pan(view, 10, -5), size, before.y_m, before.x_m);
      expect([moved.x - x, moved.y - y].map(Math.round)).toEqual([10, -5]);
    }
  });
});

describe("scale bar", () => {
  it("has a round length that fits", () => {
    for (let power = -10; power < -3; power += 0.01) {
      const metresPerPixel = 10 ** power;
      const bar = scaleBar(metresPerPixel, 200);
      expect(bar.length_px).toBeLessThanOrEqual(200.0001);
      expect(bar.length_px).toBeGreaterThan(200 / 2.6);
      expect(bar.label).toMatch(/^(1|2|5)0{0,2} (m|mm|µm|nm)$/);
    }
  });
});
