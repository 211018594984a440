import type { ComplexArray } from "../data/array_file";
import type { ColourTable } from "./colour_maps";
import { type PhaseReference, onOtherGrid } from "./phase_reference";
import type { Renderer } from "./renderer";
import { type Shading, tableOf } from "./shading";
import { type Viewport, onGrid, onSample } from "./viewport";

const VERTEX = `#version 300 es
void main() {
  // One triangle that covers the canvas.
  gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0);
}`;

// The same arithmetic as shading.ts.
const FRAGMENT = `#version 300 es
precision highp float;
precision highp isampler2D;
uniform isampler2D image;      // (re, im), in units of \`scale\`.
uniform sampler2D colours;     // 256 x 1.
uniform float scale;
uniform float canvas_height;
uniform vec2 first;            // (col, row) at the canvas's upper left corner,
uniform vec2 per_pixel;        // and their growth with each pixel of the canvas.
uniform vec2 amplitude_range;
uniform vec2 phase_range;
uniform vec3 reference;        // Phase at (0, 0), per row, per column.
uniform int quantity;          // 0 amplitude, 1 phase, 2 both.
out vec4 colour;
const float PI = 3.14159265358979;
float fraction(float value, vec2 range) {
  return range.y > range.x ? clamp((value - range.x) / (range.y - range.x), 0.0, 1.0) : 0.0;
}
void main() {
  vec2 at = first + per_pixel * vec2(gl_FragCoord.x, canvas_height - gl_FragCoord.y);
  ivec2 pixel = ivec2(floor(at + 0.5));
  if (any(lessThan(pixel, ivec2(0))) || any(greaterThanEqual(pixel, textureSize(image, 0)))) discard;
  colour = vec4(0.0);
  ivec2 value = texelFetch(image, pixel, 0).rg;
  if (value.r == -32768) return;
  vec2 parts = vec2(value);
  float amplitude = scale * length(parts);
  float phase = (value == ivec2(0) ? 0.0 : atan(parts.y, parts.x))
      - reference.x - reference.y * float(pixel.y) - reference.z * float(pixel.x);
  phase -= 2.0 * PI * floor((phase + PI) / (2.0 * PI));
  float bright = fraction(amplitude, amplitude_range);
  if (quantity == 2) {
    vec3 k = mod(vec3(5.0, 3.0, 1.0) + 6.0 * fract(phase / (2.0 * PI) + 1.0), 6.0);
    colour = vec4(bright * (1.0 - clamp(min(k, 4.0 - k), 0.0, 1.0)), 1.0);
  } else {
    float part = quantity == 1 ? fraction(phase, phase_range) : bright;
    colour = vec4(texelFetch(colours, ivec2(min(255.0, floor(256.0 * part)), 0), 0).rgb, 1.0);
  }
}`;

const QUANTITIES = { amplitude: 0, phase: 1, complex: 2 };

interface Layer {
  image: ComplexArray;
  texture: WebGLTexture | null;
}

/** Keeps images as textures of 16-bit numbers; colours are made as they are drawn. */
export class WebGlRenderer implements Renderer {
  readonly kind = "WebGL2";
  private layers: Layer[] = [];
  private colours: ColourTable | null = null;
  private program!: WebGLProgram;
  private locations = new Map<string, WebGLUniformLocation | null>();

  constructor(private readonly gl: WebGL2RenderingContext) {
    this.prepare();
    gl.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    gl.canvas.addEventListener("webglcontextrestored", () => this.prepare());
  }

  setImages(images: ComplexArray[]): void {
    const unused = this.layers.filter(({ image }) => !images.includes(image));
    this.layers = images.map(
      (image) => this.layers.find((layer) => layer.image === image) ?? { image, texture: null },
    );
    for (const { texture } of unused) this.gl.deleteTexture(texture);
  }

  draw(shading: Shading, view: Viewport): void {
    const { gl } = this;
    const { width, height } = gl.canvas;
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT);
    this.uploadColours(tableOf(shading));
    gl.uniform1f(this.at("canvas_height"), height);
    gl.uniform2f(this.at("amplitude_range"), ...shading.amplitude);
    gl.uniform2f(this.at("phase_range"), ...shading.phase);
    gl.uniform1i(this.at("quantity"), QUANTITIES[shading.quantity]);
    for (const layer of this.layers) {
      const reference = onOtherGrid(shading.reference, this.layers[0]!.image, layer.image);
      this.drawLayer(layer, reference, view);
    }
  }

  private drawLayer(layer: Layer, reference: PhaseReference, view: Viewport): void {
    const { gl } = this;
    const { image } = layer;
    this.bind(layer);
    const corner = onSample(view, gl.canvas, 0, 0);
    const first = onGrid(image, corner.y_m, corner.x_m);
    const [y_m, x_m] = image.header.pixel_size_m;
    gl.uniform1f(this.at("scale"), image.scale);
    gl.uniform2f(this.at("first"), first.col, first.row);
    gl.uniform2f(this.at("per_pixel"), view.metresPerPixel / x_m, view.metresPerPixel / y_m);
    gl.uniform3f(this.at("reference"), reference.constant, reference.perRow, reference.perCol);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** All that a context has, also after it was lost. */
  private prepare(): void {
    const { gl } = this;
    this.colours = null;
    for (const layer of this.layers) layer.texture = null;
    this.locations.clear();
    this.program = gl.createProgram()!;
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ] as const) {
      const shader = gl.createShader(kind)!;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(`shaders: ${gl.getProgramInfoLog(this.program)}`);
    }
    gl.useProgram(this.program);
    gl.uniform1i(this.at("image"), 0);
    gl.uniform1i(this.at("colours"), 1);
    gl.activeTexture(gl.TEXTURE1);
    this.makeTexture();
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  }

  /** Bound to the unit that is active. */
  private makeTexture(): WebGLTexture | null {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    return texture;
  }

  /** Uploads an image when it is drawn for the first time. */
  private bind(layer: Layer): void {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0);
    if (layer.texture !== null) {
      gl.bindTexture(gl.TEXTURE_2D, layer.texture);
      return;
    }
    layer.texture = this.makeTexture();
    const { cols, rows, data } = layer.image;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RG16I, cols, rows, 0, gl.RG_INTEGER, gl.SHORT, data);
  }

  private uploadColours(table: ColourTable): void {
    if (table === this.colours) return;
    this.colours = table;
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, table);
  }

  private at(name: string): WebGLUniformLocation | null {
    if (!this.locations.has(name)) {
      this.locations.set(name, this.gl.getUniformLocation(this.program, name));
    }
    return this.locations.get(name)!;
  }
}
