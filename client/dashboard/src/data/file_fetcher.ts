/**
 * Fetches files in a thread of their own: megabytes that arrive would else hold up what is drawn, several
 * times a second.
 */

import type { FileAnswer, FileQuestion } from "./file_fetcher_worker";
import { GatewayError } from "./request";

export interface Fetched {
  /** null: that with the known ETag is still the newest. */
  file: ArrayBuffer | null;
  etag: string;
}

interface Waiting {
  resolve: (fetched: Fetched) => void;
  reject: (error: Error) => void;
}

let worker: Worker | null = null;
let asked = 0;
const waiting = new Map<number, Waiting>();

/** Rejects with a GatewayError for what the gateway refuses, a TypeError when it does not answer. */
export function fetchFile(path: string, etag = ""): Promise<Fetched> {
  worker ??= start();
  asked += 1;
  const question: FileQuestion = {
    number: asked,
    url: new URL(path, document.baseURI).href,
    etag,
  };
  worker.postMessage(question);
  return new Promise((resolve, reject) => waiting.set(question.number, { resolve, reject }));
}

function start(): Worker {
  const started = new Worker(new URL("./file_fetcher_worker.ts", import.meta.url), {
    type: "module",
  });
  started.onmessage = ({ data }: MessageEvent<FileAnswer>) => {
    const { resolve, reject } = waiting.get(data.number)!;
    waiting.delete(data.number);
    if ("etag" in data) resolve(data);
    else if (data.status) reject(new GatewayError(data.status, data.words));
    else reject(new TypeError(data.words));
  };
  started.onerror = () => {
    // It could not be loaded, as the gateway is away; the next question tries again.
    worker = null;
    for (const { reject } of waiting.values()) reject(new TypeError("the page is not complete"));
    waiting.clear();
  };
  return started;
}
