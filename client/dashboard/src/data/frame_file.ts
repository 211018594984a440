/** Frames of the detector as the gateway sends them. */

import { parts } from "./array_file";

export interface FrameHeader {
  frame_id: number;
  /** Of the snapshot that expects the second array; 0 without. */
  version: number;
  /** When the gateway first had it as the newest frame, seconds since 1970; null of one by its id. */
  time_s: number | null;
  /** By how much earlier it may have come; null: nobody had looked before. */
  uncertain_s: number | null;
  /** Over how many pixels along each axis the frame is averaged. */
  downsample: number;
  shape: [number, number, number];
}

export interface FrameImage {
  header: FrameHeader;
  rows: number;
  cols: number;
  /** Counts measured, row by row; NaN where a pixel is not to be trusted. */
  counts: Float32Array;
  /** Counts that the snapshot expects; null when it does not show the frame. */
  expected: Float32Array | null;
}

export function decodeFrame(file: ArrayBuffer): FrameImage {
  const { header, offset } = parts<FrameHeader>(file);
  const [arrays, rows, cols] = header.shape;
  const size = rows * cols;
  const data = new Float32Array(file, offset);
  if (data.length !== arrays * size) throw new Error(`a frame of ${data.length} pixels`);
  const expected = arrays > 1 ? data.subarray(size, 2 * size) : null;
  return { header, rows, cols, counts: data.subarray(0, size), expected };
}
