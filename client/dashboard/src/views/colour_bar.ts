/** Which colour means what. */

import { h, say } from "../dom";
import { hsv } from "../image/colour_maps";
import { type Shading, tableOf } from "../image/shading";

export class ColourBar {
  private readonly canvas = h("canvas", { width: 256, height: 1 });
  private readonly low = h("span");
  private readonly high = h("span");
  readonly element = h("div", { class: "colour-bar" }, this.low, this.canvas, this.high);

  private shown = "";

  update(shading: Shading): void {
    const as = JSON.stringify({ ...shading, reference: null });
    if (as === this.shown) return;
    this.shown = as;
    const pixels = new ImageData(256, 1);
    const table = tableOf(shading);
    for (let k = 0; k < 256; k += 1) {
      const colour =
        shading.quantity === "complex"
          ? hsv((k / 256 + 0.5) % 1, 1)
          : table.subarray(4 * k, 4 * k + 3);
      pixels.data.set([...colour, 255], 4 * k);
    }
    this.canvas.getContext("2d")!.putImageData(pixels, 0, 0);
    const [low, high] = shading.quantity === "amplitude" ? shading.amplitude : shading.phase;
    const whole = shading.quantity === "complex" || high - low > 6.28;
    if (shading.quantity !== "amplitude" && whole) {
      say(this.low, "−π");
      say(this.high, "π rad");
    } else {
      say(this.low, low.toFixed(2).replace("-", "−"));
      say(
        this.high,
        `${high.toFixed(2).replace("-", "−")}${shading.quantity === "phase" ? " rad" : ""}`,
      );
    }
  }
}
