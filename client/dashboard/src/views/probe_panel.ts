/** The modes of the probe with their powers. */

import { type ComplexArray, decodeComplex, modeOf } from "../data/array_file";
import type { SessionMessage } from "../data/messages";
import { Latest } from "../data/transport";
import { h, say } from "../dom";
import { NO_REFERENCE } from "../image/phase_reference";
import { type Shading, WHOLE_CIRCLE, paint } from "../image/shading";
import { metres } from "../units";

const INTERVAL_MS = 500;

export class ProbePanel {
  private readonly modes = h("div", { class: "modes" });
  private readonly size = h("span", { class: "note" });
  readonly element = h("section", { class: "panel" }, h("h2", {}, "Probe ", this.size), this.modes);
  private readonly probe: Latest<ComplexArray>;
  private powers: number[] = [];

  /** @param onShape tells how many pixels a frame has, [rows, cols]. */
  constructor(
    id: string,
    private readonly onShape: (shape: [number, number]) => void,
  ) {
    this.probe = new Latest(
      `api/sessions/${id}/arrays/probe`,
      INTERVAL_MS,
      decodeComplex,
      (array) => this.take(array),
    );
  }

  update(message: SessionMessage): void {
    if (!message.session?.snapshot_version) return;
    this.powers = message.session.metrics?.mode_powers ?? [];
    this.probe.want(`${message.epoch}-${message.session.snapshot_version}`);
  }

  close(): void {
    this.probe.close();
  }

  private take(probe: ComplexArray): void {
    const { downsample, pixel_size_m } = probe.header;
    this.onShape([probe.rows * downsample, probe.cols * downsample]);
    const height_m = probe.rows * downsample * pixel_size_m[0];
    const width_m = probe.cols * downsample * pixel_size_m[1];
    say(this.size, `${metres(width_m)} × ${metres(height_m)}, hue: phase, brightness: amplitude`);
    while (this.modes.childElementCount < probe.modes) {
      this.modes.append(h("figure", {}, h("canvas"), h("figcaption")));
    }
    while (this.modes.childElementCount > probe.modes) this.modes.lastElementChild!.remove();
    for (const [k, figure] of [...this.modes.children].entries()) {
      drawMode(figure.querySelector("canvas")!, modeOf(probe, k));
      const power = this.powers[k];
      const part = power === undefined ? "" : `, ${(100 * power).toFixed(1)} %`;
      say(figure.querySelector("figcaption")!, `mode ${k + 1}${part}`);
    }
  }
}

function drawMode(canvas: HTMLCanvasElement, mode: ComplexArray): void {
  let most = 0;
  for (let k = 0; k < mode.data.length; k += 2) {
    most = Math.max(most, Math.hypot(mode.data[k]!, mode.data[k + 1]!));
  }
  const shading: Shading = {
    quantity: "complex",
    amplitude: [0, most * mode.scale],
    phase: WHOLE_CIRCLE,
    map: "grey",
    cyclicMap: "hue",
    reference: NO_REFERENCE,
  };
  canvas.width = mode.cols;
  canvas.height = mode.rows;
  const pixels = new ImageData(mode.cols, mode.rows);
  paint(mode, shading, pixels.data);
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
}
