/** Both ends of a range of values, by hand or by themselves. */

import { h, toggle } from "../dom";
import type { Range } from "../image/shading";

export class RangeControl {
  private readonly low = slider("lower end");
  private readonly high = slider("upper end");
  private readonly auto: HTMLLabelElement;
  readonly element: HTMLElement;
  automatic = true;

  /**
   * @param limits what can be chosen.
   * @param onChange with a range chosen by hand; null: it is to be found.
   */
  constructor(
    label: string,
    private limits: Range,
    private readonly onChange: (range: Range | null) => void,
  ) {
    this.auto = toggle(
      "auto",
      true,
      `${label}: the range in which 99 % of the pixels are`,
      (on) => {
        this.automatic = on;
        this.onChange(on ? null : this.range());
      },
    );
    for (const input of [this.low, this.high]) {
      input.oninput = () => {
        this.automatic = this.auto.querySelector("input")!.checked = false;
        this.onChange(this.range());
      };
    }
    this.element = h(
      "div",
      { class: "range field" },
      h("span", {}, label),
      this.low,
      this.high,
      this.auto,
    );
  }

  /** Shows a range that was found. */
  show(range: Range, limits: Range = this.limits): void {
    this.limits = limits;
    const length = limits[1] - limits[0] || 1;
    this.low.valueAsNumber = (1000 * (range[0] - limits[0])) / length;
    this.high.valueAsNumber = (1000 * (range[1] - limits[0])) / length;
  }

  private range(): Range {
    const at = (input: HTMLInputElement) =>
      this.limits[0] + (input.valueAsNumber / 1000) * (this.limits[1] - this.limits[0]);
    return [Math.min(at(this.low), at(this.high)), Math.max(at(this.low), at(this.high))];
  }
}

function slider(label: string): HTMLInputElement {
  return h("input", { type: "range", min: "0", max: "1000", value: "0", "aria-label": label });
}
