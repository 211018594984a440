/** The thread of file_fetcher.ts. */

import { GatewayError, request } from "./request";

export interface FileQuestion {
  number: number;
  url: string;
  /** Of what is known; empty: nothing. */
  etag: string;
}

/** A file, or why there is none; status 0: there was no answer. */
export type FileAnswer =
  | { number: number; file: ArrayBuffer | null; etag: string }
  | { number: number; status: number; words: string };

self.onmessage = async ({ data: { number, url, etag } }: MessageEvent<FileQuestion>) => {
  const answer = (content: FileAnswer, moved: Transferable[] = []) =>
    self.postMessage(content, { transfer: moved });
  try {
    const response = await request(url, etag ? { headers: { "If-None-Match": etag } } : {});
    const file = response.status === 304 ? null : await response.arrayBuffer();
    answer({ number, file, etag: response.headers.get("ETag") ?? "" }, file ? [file] : []);
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    answer({ number, status: error instanceof GatewayError ? error.status : 0, words });
  }
};
