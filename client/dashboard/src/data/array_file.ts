/** Arrays as the gateway sends them: length of the header, header in JSON, data. */

export interface ArrayHeader {
  name: string;
  version: number;
  iteration: number;
  /** When the snapshot was taken, by the server's clock: seconds since 1970. */
  time_s: number;
  final: boolean;
  /** [y, x] of a pixel of this array. */
  pixel_size_m: [number, number];
  /** Sample coordinates [y, x] of the centre of pixel [0, 0]. */
  origin_m: [number, number];
  /** Over how many pixels along each axis the array is averaged. */
  downsample: number;
  shape: number[];
  /** [row, col] of pixel [0, 0] in the canvas at full resolution. */
  first_px: [number, number];
  element: "complex-i16" | "f4" | "f8";
  scale?: number;
}

/** What stands for NaN in data of 16 bits. */
export const NO_DATA = -32768;

/** A complex array: pairs (re, im) of int16, each times `scale`. The first axis is the mode. */
export interface ComplexArray {
  header: ArrayHeader;
  scale: number;
  modes: number;
  rows: number;
  cols: number;
  data: Int16Array;
}

/** A real array with two axes. */
export interface RealArray {
  header: ArrayHeader;
  rows: number;
  cols: number;
  data: Float32Array | Float64Array;
}

/** Header and where the data begin. */
export function parts<Header = ArrayHeader>(file: ArrayBuffer): { header: Header; offset: number } {
  if (file.byteLength < 4) throw new Error("the array is cut off");
  const length = new DataView(file).getUint32(0, true);
  if (4 + length > file.byteLength) throw new Error("the array's header is cut off");
  const text = new TextDecoder().decode(new Uint8Array(file, 4, length));
  return { header: JSON.parse(text) as Header, offset: 4 + length };
}

function expect(
  header: ArrayHeader,
  count: number,
  bytes: number,
  file: ArrayBuffer,
  offset: number,
) {
  if (file.byteLength - offset !== count * bytes) {
    throw new Error(
      `${header.name}: ${file.byteLength - offset} bytes, expected ${count * bytes} of shape ${header.shape}`,
    );
  }
}

export function decodeComplex(file: ArrayBuffer): ComplexArray {
  const { header, offset } = parts(file);
  if (header.element !== "complex-i16") throw new Error(`${header.name} is ${header.element}`);
  const [cols = 0, rows = 0, modes = 1] = [...header.shape].reverse();
  expect(header, modes * rows * cols, 4, file, offset);
  const data = new Int16Array(file, offset);
  return { header, scale: header.scale ?? 1, modes, rows, cols, data };
}

export function decodeReal(file: ArrayBuffer): RealArray {
  const { header, offset } = parts(file);
  const [rows = 0, cols = 0] = header.shape;
  if (header.element === "f4") {
    expect(header, rows * cols, 4, file, offset);
    return { header, rows, cols, data: new Float32Array(file, offset) };
  }
  if (header.element === "f8") {
    expect(header, rows * cols, 8, file, offset);
    return { header, rows, cols, data: new Float64Array(file, offset) };
  }
  throw new Error(`${header.name} is ${header.element}`);
}

/** One mode of a complex array, on the same memory. */
export function modeOf(array: ComplexArray, mode: number): ComplexArray {
  const size = 2 * array.rows * array.cols;
  return { ...array, modes: 1, data: array.data.subarray(mode * size, (mode + 1) * size) };
}
