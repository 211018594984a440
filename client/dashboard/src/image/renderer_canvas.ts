import type { ComplexArray } from "../data/array_file";
import { onOtherGrid } from "./phase_reference";
import type { Renderer } from "./renderer";
import { type Shading, paint } from "./shading";
import { type Viewport, placed } from "./viewport";

interface Layer {
  image: ComplexArray;
  painted: HTMLCanvasElement;
  as: string;
}

/** Paints images when they or their colours change, and scales them when the view does. */
export class CanvasRenderer implements Renderer {
  readonly kind = "Canvas2D";
  private layers: Layer[] = [];

  constructor(private readonly context: CanvasRenderingContext2D) {}

  setImages(images: ComplexArray[]): void {
    this.layers = images.map(
      (image, k) =>
        this.layers.find((layer) => layer.image === image) ?? {
          image,
          painted: this.layers[k]?.painted ?? document.createElement("canvas"),
          as: "",
        },
    );
  }

  draw(shading: Shading, view: Viewport): void {
    const { context } = this;
    const { canvas } = context;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = false;
    for (const layer of this.layers) {
      const { image } = layer;
      const reference = onOtherGrid(shading.reference, this.layers[0]!.image, image);
      repaint(layer, { ...shading, reference });
      const { x, y, width, height } = placed(image, view, canvas);
      context.clearRect(x, y, width, height);
      context.drawImage(layer.painted, x, y, width, height);
    }
  }
}

function repaint(layer: Layer, shading: Shading): void {
  const as = JSON.stringify(shading);
  if (as === layer.as) return;
  layer.as = as;
  const { image, painted } = layer;
  painted.width = image.cols;
  painted.height = image.rows;
  const pixels = new ImageData(image.cols, image.rows);
  paint(image, shading, pixels.data);
  painted.getContext("2d")!.putImageData(pixels, 0, 0);
}
