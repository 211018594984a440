/** Draws complex images on a canvas: with WebGL2, or by the processor where that is not to be had. */

import type { ComplexArray } from "../data/array_file";
import { CanvasRenderer } from "./renderer_canvas";
import { WebGlRenderer } from "./renderer_webgl";
import type { Shading } from "./shading";
import type { Viewport } from "./viewport";

export interface Renderer {
  readonly kind: "WebGL2" | "Canvas2D";
  /** Of one object: all of it, and if it is there a finer part of it, which is drawn over it. */
  setImages(images: ComplexArray[]): void;
  /**
   * On all of the canvas, whose size is that of the screen in device pixels. The reference is that of
   * the first image.
   */
  draw(shading: Shading, view: Viewport): void;
}

/** `?renderer=canvas` in the page's address has the processor draw in any case. */
export function makeRenderer(canvas: HTMLCanvasElement): Renderer {
  const asked = new URLSearchParams(window.location.search).get("renderer");
  const gl =
    asked === "canvas" ? null : canvas.getContext("webgl2", { alpha: true, antialias: false });
  return gl ? new WebGlRenderer(gl) : new CanvasRenderer(canvas.getContext("2d")!);
}
