/** The way to the gateway: events over a WebSocket that opens itself again, arrays by GET. */

import { fetchFile } from "./file_fetcher";
import type { Message } from "./messages";
import { GatewayError } from "./request";

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 2000;
/** The gateway says something twice a second; silence means that the connection is dead. */
const SILENCE_MS = 3000;

export class Events {
  private socket: WebSocket | null = null;
  private pauseMs = FIRST_PAUSE_MS;
  private timer: number | undefined;
  private closed = false;

  constructor(
    private readonly session: string | null,
    private readonly onMessage: (message: Message) => void,
    private readonly onConnection: (connected: boolean) => void,
  ) {
    this.open();
  }

  close(): void {
    this.closed = true;
    window.clearTimeout(this.timer);
    this.socket?.close();
  }

  private open(): void {
    const url = new URL("api/events", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    if (this.session !== null) url.searchParams.set("session", this.session);
    const socket = new WebSocket(url);
    this.socket = socket;
    this.watch(socket);
    socket.onmessage = (event: MessageEvent<string>) => {
      if (this.closed) return;
      this.pauseMs = FIRST_PAUSE_MS;
      this.watch(socket);
      this.onConnection(true);
      this.onMessage(JSON.parse(event.data) as Message);
    };
    socket.onclose = () => this.lost(socket);
  }

  /** Gives the socket up when nothing comes for too long. */
  private watch(socket: WebSocket): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.lost(socket), SILENCE_MS);
  }

  private lost(socket: WebSocket): void {
    if (this.closed || socket !== this.socket) return;
    this.socket = null;
    socket.close();
    window.clearTimeout(this.timer);
    this.onConnection(false);
    this.timer = window.setTimeout(() => this.open(), this.pauseMs);
    this.pauseMs = Math.min(2 * this.pauseMs, LONGEST_PAUSE_MS);
  }
}

/**
 * An array of a session, asked for again when there may be a newer one: one request at a time, and
 * not more often than every `intervalMs`. Between them, and until `take` is done with one, versions
 * are passed over.
 */
export class Latest<T> {
  private etag = "";
  private wanted = "";
  private had = "";
  private busy = false;
  private lastMs = Number.NEGATIVE_INFINITY;
  private timer: number | undefined;
  private closed = false;

  constructor(
    private readonly path: string,
    private readonly intervalMs: number,
    private readonly decode: (file: ArrayBuffer) => T,
    private readonly take: (array: T) => void | Promise<void>,
    /** What the gateway says when it will not give the version that was wanted. */
    private readonly refused?: (error: GatewayError) => void,
  ) {}

  /** There is this version, or a later one. */
  want(version: string): void {
    this.wanted = version;
    this.next();
  }

  close(): void {
    window.clearTimeout(this.timer);
    this.closed = true;
  }

  private next(): void {
    if (this.busy || this.wanted === this.had || this.closed) return;
    this.busy = true;
    const pauseMs = Math.max(0, this.lastMs + this.intervalMs - performance.now());
    this.timer = window.setTimeout(() => void this.fetch(), pauseMs);
  }

  private async fetch(): Promise<void> {
    const version = this.wanted;
    this.lastMs = performance.now();
    try {
      const { file, etag } = await fetchFile(this.path, this.etag);
      if (this.closed) return;
      if (file !== null) await this.take(this.decode(file));
      this.etag = etag;
      this.had = version;
    } catch (error) {
      if (this.closed) return;
      if (this.refused && error instanceof GatewayError && error.status < 500) {
        this.refused(error);
        this.had = version;
      } else {
        // Before the first snapshot, or while the server is away: both are told by events.
        if (!(error instanceof GatewayError || error instanceof TypeError)) console.error(error);
        this.lastMs = performance.now() + 500;
      }
    }
    this.busy = false;
    this.next();
  }
}
