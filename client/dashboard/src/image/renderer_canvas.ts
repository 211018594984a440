import type { ComplexArray } from "../data/array_file";
import type { Renderer } from "./renderer";
import { type Shading, paint } from "./shading";
import { type Viewport, placed } from "./viewport";

/** Paints the image when it or its colours change, and scales it when the view does. */
export class CanvasRenderer implements Renderer {
  readonly kind = "Canvas2D";
  private image: ComplexArray | null = null;
  private readonly painted = document.createElement("canvas");
  private paintedAs = "";

  constructor(private readonly context: CanvasRenderingContext2D) {}

  setImage(image: ComplexArray): void {
    this.image = image;
    this.paintedAs = "";
  }

  draw(shading: Shading, view: Viewport): void {
    const { canvas } = this.context;
    this.context.clearRect(0, 0, canvas.width, canvas.height);
    if (this.image === null) return;
    this.paint(this.image, shading);
    const { x, y, width, height } = placed(this.image, view, canvas);
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(this.painted, x, y, width, height);
  }

  private paint(image: ComplexArray, shading: Shading): void {
    const as = JSON.stringify(shading);
    if (as === this.paintedAs) return;
    this.paintedAs = as;
    this.painted.width = image.cols;
    this.painted.height = image.rows;
    const pixels = new ImageData(image.cols, image.rows);
    paint(image, shading, pixels.data);
    this.painted.getContext("2d")!.putImageData(pixels, 0, 0);
  }
}
