/** A picture that can be moved, enlarged and measured. */

import type { ComplexArray, RealArray } from "../data/array_file";
import { type Point, nearest } from "../data/point_table";
import { h, say } from "../dom";
import { metres, number } from "../units";
import type { Box, Statistics } from "./auto_range";
import { statistics } from "./auto_range";
import { type Cutout, neededCutout } from "./cutout";
import { type PhaseReference, onOtherGrid } from "./phase_reference";
import { type Renderer, makeRenderer } from "./renderer";
import { drawScaleBar, scaleBar } from "./scale_bar";
import { type Shading, valueAt } from "./shading";
import { type Viewport, fit, onGrid, onSample, onScreen, pan, placed, zoom } from "./viewport";

/** A point of the scan as it is drawn. */
export interface Mark extends Point {
  colour: string;
}

interface Place {
  y_m: number;
  x_m: number;
}

/** What panes of one object have in common. */
export interface Linked {
  /** null: all of the image. */
  view: Viewport | null;
  cursor: Place | null;
  region: { y_m: [number, number]; x_m: [number, number] } | null;
  marks: Mark[];
  /** The point whose frame is looked at. */
  picked: Point | null;
  /** A mark was clicked. */
  onPick: (mark: Mark) => void;
  coverage: RealArray | null;
  /** Draws all panes with the next frame. */
  changed: () => void;
}

/** How far from a mark a click may be, and how far the mouse may slip in it. */
const PICK_PX = 12;
const SLIP_PX = 3;

const KEYS: Record<string, [number, number]> = {
  ArrowLeft: [40, 0],
  ArrowRight: [-40, 0],
  ArrowUp: [0, 40],
  ArrowDown: [0, -40],
};

export class Pane {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas", { class: "picture" });
  private readonly over = h("canvas", { class: "over" });
  private readonly caption = h("div", { class: "caption" });
  private readonly readout = h("div", { class: "readout", "aria-live": "off" });
  private readonly renderer: Renderer;
  private image: ComplexArray | null = null;
  /** A finer part of the image. */
  private detail: ComplexArray | null = null;
  private drag: { x: number; y: number; region: boolean } | null = null;
  /** Where the button went down, as long as the mouse has not moved since. */
  private click: { x: number; y: number } | null = null;
  /** Device pixels of what is one at the smallest size of text. */
  private unit = 1;
  private coverageTint: { of: RealArray; canvas: HTMLCanvasElement } | null = null;

  constructor(
    name: string,
    private readonly shading: Shading,
    private readonly linked: Linked,
  ) {
    this.renderer = makeRenderer(this.canvas);
    this.element = h(
      "div",
      {
        class: "pane",
        tabIndex: 0,
        role: "img",
        "aria-label": `${name} of the object`,
        title:
          "Drag: move. Wheel, + and -: enlarge. 0 or double click: all of it. Shift and drag: measure a region. Click on a position: its frame.",
      },
      this.canvas,
      this.over,
      this.caption,
      this.readout,
    );
    this.element.dataset.renderer = this.renderer.kind;
    new ResizeObserver(() => this.resize()).observe(this.element);
    this.listen();
  }

  setImage(image: ComplexArray, detail: ComplexArray | null): void {
    this.image = image;
    this.detail = detail;
    this.renderer.setImages(detail ? [image, detail] : [image]);
    this.linked.changed();
  }

  /** What of `image` is needed at a finer resolution as things are seen. */
  needed(image: ComplexArray, most_px: number): Cutout | null {
    return neededCutout(image, this.view(image), this.over, most_px);
  }

  /** What is told on the picture: version and age. */
  setCaption(text: string, stale: boolean): void {
    say(this.caption, text);
    this.caption.classList.toggle("stale", stale);
  }

  draw(): void {
    const { image, over } = this;
    const context = over.getContext("2d")!;
    context.clearRect(0, 0, over.width, over.height);
    if (image === null || over.width === 0) return;
    const view = this.view(image);
    this.renderer.draw(this.shading, view);
    this.drawCoverage(context, view);
    this.drawMarks(context, view);
    this.drawRegion(context, view);
    this.drawCursor(context, view);
    const unit = this.unit;
    const bar = scaleBar(view.metresPerPixel, 0.28 * over.width);
    // Above the line on what is under the cursor.
    drawScaleBar(context, bar, over.width - 18 * unit, over.height - 40 * unit, unit);
    this.tellCursor(image);
  }

  /** All of the picture with its scale bar, a pixel of the array on one or several of the file. */
  async png(captionText: string): Promise<Blob> {
    const { image } = this;
    if (image === null) throw new Error("there is no picture yet");
    const times = Math.max(1, Math.ceil(600 / Math.max(image.rows, image.cols)));
    const [y_m, x_m] = image.header.pixel_size_m;
    const width = Math.round((times * image.cols * x_m) / y_m);
    const canvas = h("canvas", { width, height: times * image.rows });
    const renderer = makeRenderer(canvas);
    renderer.setImages([image]);
    const view = { ...fit(image, canvas), metresPerPixel: y_m / times };
    renderer.draw(this.shading, view);
    const line = 30;
    const out = h("canvas", { width: canvas.width, height: canvas.height + line });
    const context = out.getContext("2d")!;
    context.fillStyle = "#000";
    context.fillRect(0, 0, out.width, out.height);
    context.drawImage(canvas, 0, 0);
    const bar = scaleBar(view.metresPerPixel, 0.28 * canvas.width);
    drawScaleBar(context, bar, canvas.width - 16, canvas.height - 12, 1);
    context.fillStyle = "#fff";
    context.font = "14px system-ui, sans-serif";
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillText(captionText, 8, canvas.height + line / 2, out.width - 16);
    return new Promise((resolve, reject) =>
      out.toBlob(
        (blob) => (blob ? resolve(blob) : reject(new Error("no PNG was made"))),
        "image/png",
      ),
    );
  }

  /** Pixels of the image within the region that was drawn. */
  box(image: ComplexArray): Box | null {
    const { region } = this.linked;
    if (region === null) return null;
    const first = onGrid(image, region.y_m[0], region.x_m[0]);
    const last = onGrid(image, region.y_m[1], region.x_m[1]);
    const row = Math.max(0, Math.round(first.row));
    const col = Math.max(0, Math.round(first.col));
    const rows = Math.min(image.rows - 1, Math.round(last.row)) - row + 1;
    const cols = Math.min(image.cols - 1, Math.round(last.col)) - col + 1;
    return rows > 0 && cols > 0 ? { firstRow: row, firstCol: col, rows, cols } : null;
  }

  private view(image: ComplexArray): Viewport {
    return this.linked.view ?? fit(image, this.over);
  }

  private resize(): void {
    const ratio = window.devicePixelRatio;
    const fontSize = getComputedStyle(document.documentElement).fontSize;
    this.unit = (ratio * Number.parseFloat(fontSize)) / 14;
    for (const canvas of [this.canvas, this.over]) {
      const old = canvas.width;
      canvas.width = Math.max(1, Math.round(this.element.clientWidth * ratio));
      canvas.height = Math.max(1, Math.round(this.element.clientHeight * ratio));
      if (canvas === this.over && this.linked.view && old > 1) {
        this.linked.view.metresPerPixel *= old / canvas.width;
      }
    }
    this.linked.changed();
  }

  private listen(): void {
    const { element } = this;
    element.onpointerdown = (event) => {
      if (event.button !== 0) return;
      element.setPointerCapture(event.pointerId);
      const [x, y] = this.pixel(event);
      this.drag = { x, y, region: event.shiftKey };
      this.click = event.shiftKey ? null : { x, y };
      if (event.shiftKey) this.linked.region = null;
    };
    element.onpointermove = (event) => this.moved(event);
    element.onpointerup = () => {
      if (this.click) this.pick(this.click.x, this.click.y);
      this.drag = this.click = null;
    };
    element.onpointercancel = () => {
      this.drag = this.click = null;
    };
    element.onpointerleave = () => {
      this.linked.cursor = null;
      this.linked.changed();
    };
    element.ondblclick = () => {
      this.linked.view = this.linked.region = null;
      this.linked.changed();
    };
    element.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const [x, y] = this.pixel(event);
        this.zoomAt(x, y, 2 ** (-event.deltaY / 300));
      },
      { passive: false },
    );
    element.onkeydown = (event) => this.key(event);
  }

  private moved(event: PointerEvent): void {
    const { image, linked, drag } = this;
    if (image === null) return;
    const [x, y] = this.pixel(event);
    const view = this.view(image);
    if (this.click) {
      const slip = Math.hypot(x - this.click.x, y - this.click.y);
      if (slip <= SLIP_PX * window.devicePixelRatio) return;
      this.click = null;
    }
    if (drag?.region) {
      const from = onSample(view, this.over, drag.x, drag.y);
      const to = onSample(view, this.over, x, y);
      linked.region = {
        y_m: [Math.min(from.y_m, to.y_m), Math.max(from.y_m, to.y_m)],
        x_m: [Math.min(from.x_m, to.x_m), Math.max(from.x_m, to.x_m)],
      };
    } else if (drag) {
      linked.view = pan(view, x - drag.x, y - drag.y);
      this.drag = { ...drag, x, y };
    }
    linked.cursor = onSample(this.view(image), this.over, x, y);
    linked.changed();
  }

  private pick(x: number, y: number): void {
    if (this.image === null) return;
    const view = this.view(this.image);
    const { y_m, x_m } = onSample(view, this.over, x, y);
    const within_m = PICK_PX * window.devicePixelRatio * view.metresPerPixel;
    const mark = nearest(this.linked.marks, y_m, x_m, within_m);
    if (mark) this.linked.onPick(mark);
  }

  private key(event: KeyboardEvent): void {
    const { image, linked, over } = this;
    if (image === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = KEYS[event.key];
    if (step) linked.view = pan(this.view(image), ...step);
    else if (event.key === "+" || event.key === "=")
      this.zoomAt(over.width / 2, over.height / 2, 1.25);
    else if (event.key === "-") this.zoomAt(over.width / 2, over.height / 2, 0.8);
    else if (event.key === "0") linked.view = null;
    else if (event.key === "Escape") linked.region = null;
    else return;
    event.preventDefault();
    linked.changed();
  }

  private zoomAt(x: number, y: number, factor: number): void {
    if (this.image === null) return;
    this.linked.view = zoom(this.view(this.image), this.over, x, y, factor);
    this.linked.changed();
  }

  private pixel(event: MouseEvent): [number, number] {
    const { left, top } = this.over.getBoundingClientRect();
    const ratio = window.devicePixelRatio;
    return [(event.clientX - left) * ratio, (event.clientY - top) * ratio];
  }

  private drawMarks(context: CanvasRenderingContext2D, view: Viewport): void {
    const radius = 3 * this.unit;
    for (const { y_m, x_m, colour } of this.linked.marks) {
      const { x, y } = onScreen(view, this.over, y_m, x_m);
      context.fillStyle = colour;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    }
    const { picked } = this.linked;
    if (picked === null) return;
    const { x, y } = onScreen(view, this.over, picked.y_m, picked.x_m);
    this.outline(context, () => {
      context.beginPath();
      context.arc(x, y, 3 * radius, 0, 2 * Math.PI);
      context.stroke();
    });
  }

  /** White between black lines, which is seen on everything. */
  private outline(context: CanvasRenderingContext2D, stroke: () => void): void {
    for (const [colour, width] of [
      ["#000", 3],
      ["#fff", 1],
    ] as const) {
      context.strokeStyle = colour;
      context.lineWidth = width * window.devicePixelRatio;
      stroke();
    }
  }

  /** The less light has fallen, the more of it is covered. */
  private drawCoverage(context: CanvasRenderingContext2D, view: Viewport): void {
    const { coverage } = this.linked;
    if (coverage === null) return;
    if (this.coverageTint?.of !== coverage) {
      this.coverageTint = { of: coverage, canvas: tint(coverage) };
    }
    const { x, y, width, height } = placed(coverage, view, this.over);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.coverageTint.canvas, x, y, width, height);
  }

  private drawRegion(context: CanvasRenderingContext2D, view: Viewport): void {
    const { region } = this.linked;
    if (region === null) return;
    const from = onScreen(view, this.over, region.y_m[0], region.x_m[0]);
    const to = onScreen(view, this.over, region.y_m[1], region.x_m[1]);
    this.outline(context, () => context.strokeRect(from.x, from.y, to.x - from.x, to.y - from.y));
  }

  private drawCursor(context: CanvasRenderingContext2D, view: Viewport): void {
    const { cursor } = this.linked;
    if (cursor === null) return;
    const { x, y } = onScreen(view, this.over, cursor.y_m, cursor.x_m);
    const arm = 9 * window.devicePixelRatio;
    this.outline(context, () => {
      context.beginPath();
      context.moveTo(x - arm, y);
      context.lineTo(x + arm, y);
      context.moveTo(x, y - arm);
      context.lineTo(x, y + arm);
      context.stroke();
    });
  }

  private tellCursor(image: ComplexArray): void {
    const { cursor } = this.linked;
    const reference = this.shading.reference;
    const parts: string[] = [];
    if (cursor !== null) {
      const finest = this.detail && isOn(this.detail, cursor) ? this.detail : image;
      parts.push(cursorText(finest, cursor, onOtherGrid(reference, image, finest)));
    }
    const box = this.box(image);
    const found = box && statistics(image, reference, box);
    if (found && box) parts.push(regionText(found, this.linked.region!));
    say(this.readout, parts.join("\n"));
    this.readout.hidden = parts.length === 0;
  }
}

/** [row, col] of the pixel at a place on the sample. */
function pixelAt(image: ComplexArray, at: Place): [number, number] {
  const { row, col } = onGrid(image, at.y_m, at.x_m);
  return [Math.round(row), Math.round(col)];
}

function isOn(image: ComplexArray, at: Place): boolean {
  const [row, col] = pixelAt(image, at);
  return row >= 0 && col >= 0 && row < image.rows && col < image.cols;
}

function cursorText(image: ComplexArray, at: Place, reference: PhaseReference): string {
  const where = `x ${metres(at.x_m, 4)}  y ${metres(at.y_m, 4)}`;
  const value = valueAt(image, ...pixelAt(image, at), reference);
  if (value === null) return `${where}  no data`;
  return `${where}  amplitude ${number(value.amplitude)}  phase ${number(value.phase, 3)} rad`;
}

function regionText(found: Statistics, region: NonNullable<Linked["region"]>): string {
  const width = metres(region.x_m[1] - region.x_m[0]);
  const height = metres(region.y_m[1] - region.y_m[0]);
  return `region ${width} × ${height}: amplitude ${number(found.meanAmplitude)}, phase ${number(
    found.meanPhase,
    3,
  )} ± ${number(found.sdPhase, 3)} rad`;
}

function tint(coverage: RealArray): HTMLCanvasElement {
  const { rows, cols, data } = coverage;
  const canvas = h("canvas", { width: cols, height: rows });
  const pixels = new ImageData(cols, rows);
  let most = 0;
  for (const photons of data) most = Math.max(most, photons);
  for (let k = 0; k < data.length; k += 1) {
    const part = most > 0 ? Math.sqrt(Math.max(0, data[k]!) / most) : 0;
    pixels.data.set([213, 94, 0, 200 * (1 - part)], 4 * k);
  }
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  return canvas;
}
