/** One picture of a frame of the detector; it can be moved and enlarged, as others beside it. */

import type { FrameImage } from "../data/frame_file";
import { h, say } from "../dom";
import type { ColourTable } from "./colour_maps";
import { paintValues } from "./frame_shading";
import { type Grid, type Viewport, fit, onGrid, onSample, pan, placed, zoom } from "./viewport";

/** What panes of one frame have in common. A pixel is one unit of length, [0, 0] the origin. */
export interface LinkedFrame {
  /** null: all of it. */
  view: Viewport | null;
  frame: FrameImage | null;
  changed: () => void;
}

/** What a pane shows of it. */
export interface Painting {
  values: Float32Array;
  part: (value: number) => number;
  table: ColourTable;
}

export class FramePane {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas");
  private readonly painted = h("canvas");
  private readonly caption = h("div", { class: "caption" });
  private readonly instead = h("p", { class: "instead", hidden: true });
  private readonly readout = h("div", { class: "readout", "aria-live": "off", hidden: true });
  private unpainted: Painting | null = null;
  private drag: { x: number; y: number } | null = null;
  private cursor: { x: number; y: number } | null = null;

  /** @param tell what is said of the pixel under the cursor. */
  constructor(
    name: string,
    private readonly linked: LinkedFrame,
    private readonly tell: (frame: FrameImage, row: number, col: number) => string,
  ) {
    this.element = h(
      "div",
      {
        class: "pane",
        tabIndex: 0,
        role: "img",
        "aria-label": `frame of the detector, ${name}`,
        title: "Drag: move. Wheel, + and -: enlarge. 0 or double click: all of it.",
      },
      this.canvas,
      this.caption,
      this.instead,
      this.readout,
    );
    new ResizeObserver(() => this.resize()).observe(this.element);
    this.listen();
  }

  /** @param painting null: there is nothing to show, for which `words` give the reason. */
  show(painting: Painting | null, words = ""): void {
    this.unpainted = painting;
    say(this.instead, painting === null ? words : "");
    this.instead.hidden = painting !== null;
    this.canvas.hidden = painting === null;
  }

  setCaption(text: string, stale: boolean): void {
    say(this.caption, text);
    this.caption.classList.toggle("stale", stale);
  }

  draw(): void {
    const { canvas, painted } = this;
    const context = canvas.getContext("2d")!;
    context.clearRect(0, 0, canvas.width, canvas.height);
    const grid = this.grid();
    if (grid === null || canvas.width <= 1) return; // One that is not displayed has no size.
    this.paint(grid);
    const { x, y, width, height } = placed(grid, this.view(grid), canvas);
    // Pixels are seen as they are, and none is lost where there are more of them than of the screen.
    context.imageSmoothingEnabled = width < painted.width;
    context.imageSmoothingQuality = "high";
    context.drawImage(painted, x, y, width, height);
    this.tellCursor(grid);
  }

  /** When it is drawn, and not before: not all panes are displayed. */
  private paint({ rows, cols }: Grid): void {
    const { unpainted, painted } = this;
    if (unpainted === null) return;
    this.unpainted = null;
    painted.width = cols;
    painted.height = rows;
    const pixels = new ImageData(cols, rows);
    paintValues(unpainted.values, unpainted.part, unpainted.table, pixels.data);
    painted.getContext("2d")!.putImageData(pixels, 0, 0);
  }

  private tellCursor(grid: Grid): void {
    const { frame } = this.linked;
    const { cursor } = this;
    this.readout.hidden = cursor === null || frame === null;
    if (cursor === null || frame === null) return;
    const at = onSample(this.view(grid), this.canvas, cursor.x, cursor.y);
    const { row, col } = onGrid(grid, at.y_m, at.x_m);
    const [r, c] = [Math.round(row), Math.round(col)];
    const inside = r >= 0 && c >= 0 && r < frame.rows && c < frame.cols;
    this.readout.hidden = !inside;
    if (inside) say(this.readout, this.tell(frame, r, c));
  }

  private grid(): Grid | null {
    const { frame } = this.linked;
    return frame && { ...frame, header: { origin_m: [0, 0], pixel_size_m: [1, 1] } };
  }

  private view(grid: Grid): Viewport {
    return this.linked.view ?? fit(grid, this.canvas);
  }

  private resize(): void {
    const ratio = window.devicePixelRatio;
    this.canvas.width = Math.max(1, Math.round(this.element.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.element.clientHeight * ratio));
    this.linked.changed();
  }

  private listen(): void {
    const { element, linked } = this;
    element.onpointerdown = (event) => {
      if (event.button !== 0) return;
      element.setPointerCapture(event.pointerId);
      this.drag = this.pixel(event);
    };
    element.onpointermove = (event) => {
      const grid = this.grid();
      const at = this.pixel(event);
      if (this.drag && grid)
        linked.view = pan(this.view(grid), at.x - this.drag.x, at.y - this.drag.y);
      if (this.drag) this.drag = at;
      this.cursor = at;
      linked.changed();
    };
    element.onpointerup = element.onpointercancel = () => {
      this.drag = null;
    };
    element.onpointerleave = () => {
      this.cursor = null;
      this.readout.hidden = true;
    };
    element.ondblclick = () => this.showAll();
    element.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const { x, y } = this.pixel(event);
        this.zoomAt(x, y, 2 ** (-event.deltaY / 300));
      },
      { passive: false },
    );
    element.onkeydown = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const [x, y] = [this.canvas.width / 2, this.canvas.height / 2];
      if (event.key === "+" || event.key === "=") this.zoomAt(x, y, 1.25);
      else if (event.key === "-") this.zoomAt(x, y, 0.8);
      else if (event.key === "0") this.showAll();
      else return;
      event.preventDefault();
    };
  }

  private showAll(): void {
    this.linked.view = null;
    this.linked.changed();
  }

  private zoomAt(x: number, y: number, factor: number): void {
    const grid = this.grid();
    if (grid === null) return;
    this.linked.view = zoom(this.view(grid), this.canvas, x, y, factor, 1e3);
    this.linked.changed();
  }

  private pixel(event: MouseEvent): { x: number; y: number } {
    const { left, top } = this.element.getBoundingClientRect();
    const ratio = window.devicePixelRatio;
    return { x: (event.clientX - left) * ratio, y: (event.clientY - top) * ratio };
  }
}
