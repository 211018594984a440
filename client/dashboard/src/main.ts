/** Starts the page, and changes between the list and a session: `#/` and `#/sessions/ID`. */

import "./style.css";
import type { Message } from "./data/messages";
import { GatewayError, request } from "./data/request";
import { Events } from "./data/transport";
import { login } from "./views/login";
import { SessionList } from "./views/session_list";
import { SessionView } from "./views/session_view";
import { Shell } from "./views/shell";

const TICK_MS = 250;

/** When the gateway lets this browser in. */
async function admitted(): Promise<void> {
  for (;;) {
    try {
      await request("api/about");
      return;
    } catch (error) {
      if (!(error instanceof GatewayError) || error.status !== 401) throw error;
      await login();
    }
  }
}

class Router {
  private events: Events | null = null;
  private list: SessionList | null = null;
  private session: SessionView | null = null;
  private readonly shell = new Shell(() => this.session?.restyle());

  constructor() {
    document.body.append(this.shell.element);
    window.addEventListener("hashchange", () => this.open());
    window.setInterval(() => this.session?.tick(), TICK_MS);
    this.open();
  }

  private open(): void {
    this.events?.close();
    this.session?.close();
    this.session?.element.remove();
    this.list?.element.remove();
    this.session = this.list = null;
    const id = /^#\/sessions\/([a-z0-9-]{1,63})$/.exec(window.location.hash)?.[1] ?? null;
    document.title = id ? `${id} – ptychoserve` : "ptychoserve";
    if (id) this.session = new SessionView(id);
    else this.list = new SessionList();
    document.body.append((this.session ?? this.list)!.element);
    this.events = new Events(
      id,
      (message) => this.take(message),
      (on) => this.shell.setConnection(on),
    );
  }

  private take(message: Message): void {
    if (message.type === "server") this.shell.update(message);
    if (message.type === "sessions") this.list?.update(message, Date.now() / 1000);
    this.session?.update(message);
  }
}

admitted().then(
  () => new Router(),
  (error: unknown) => document.body.append(error instanceof Error ? error.message : String(error)),
);
