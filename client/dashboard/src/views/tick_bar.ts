/** A bar of colours with numbers beneath it. */

import { h } from "../dom";
import type { ColourTable } from "../image/colour_maps";

export interface Tick {
  /** 0 at the left end, 1 at the right one. */
  part: number;
  label: string;
}

/** Numbers that are closer than this part of the bar to the one before are left out. */
const ROOM = 0.09;

export class TickBar {
  private readonly numbers = h("div", { class: "ticks" });
  readonly element: HTMLElement;
  private shown = "";

  constructor(table: ColourTable) {
    const canvas = h("canvas", { width: 256, height: 1 });
    const pixels = new ImageData(256, 1);
    pixels.data.set(table);
    canvas.getContext("2d")!.putImageData(pixels, 0, 0);
    this.element = h("div", { class: "tick-bar" }, canvas, this.numbers);
  }

  update(ticks: Tick[]): void {
    const as = JSON.stringify(ticks);
    if (as === this.shown) return;
    this.shown = as;
    this.numbers.replaceChildren(
      ...withRoom(ticks).map(({ part, label }) => {
        const number = h("span", {}, label);
        number.style.left = `${100 * part}%`;
        return number;
      }),
    );
  }
}

/** Without those that would lie on others; the last one stays. */
export function withRoom(ticks: Tick[]): Tick[] {
  const last = ticks[ticks.length - 1];
  const kept: Tick[] = [];
  for (const tick of ticks) {
    const before = kept[kept.length - 1];
    const near = before !== undefined && tick.part - before.part < ROOM;
    if (!near && (tick === last || last!.part - tick.part >= ROOM)) kept.push(tick);
  }
  return kept;
}
