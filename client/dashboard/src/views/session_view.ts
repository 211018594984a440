/** One session: pictures, curves, figures. */

import type { Message, ServerMessage, SessionMessage } from "../data/messages";
import { h, say } from "../dom";
import { ControlPanel } from "./control_panel";
import { CurvesPanel } from "./curves_panel";
import { FiguresPanel } from "./figures_panel";
import { ObjectPanel } from "./object_panel";
import { ProbePanel } from "./probe_panel";

export class SessionView {
  private readonly object: ObjectPanel;
  private readonly probe: ProbePanel;
  private readonly curves: CurvesPanel;
  private readonly figures = new FiguresPanel();
  private readonly control: ControlPanel;
  private readonly notice = h("p", { class: "notice", role: "status" }, "waiting for the session");
  private readonly config = h("pre");
  readonly element: HTMLElement;

  constructor(private readonly id: string) {
    this.object = new ObjectPanel(id);
    this.curves = new CurvesPanel(id);
    this.probe = new ProbePanel(id, (shape) => {
      this.object.frameShape = shape;
    });
    this.control = new ControlPanel(id);
    this.element = h(
      "main",
      { class: "session" },
      h(
        "div",
        { class: "title" },
        h("a", { href: "#/" }, "sessions"),
        h("h1", {}, id),
        this.notice,
        this.control.element,
      ),
      this.object.element,
      this.curves.element,
      h(
        "aside",
        {},
        this.figures.element,
        this.probe.element,
        h(
          "section",
          { class: "panel" },
          h("details", {}, h("summary", {}, "Effective configuration"), this.config),
        ),
      ),
    );
  }

  update(message: Message): void {
    if (message.type === "sessions") {
      const summary = message.sessions.find(({ id }) => id === this.id);
      this.figures.framesPerSecond = summary?.frames_per_second ?? 0;
    }
    if (message.type === "server") {
      this.setClock(message);
      if (message.connected) this.control.offer(message);
    }
    if (message.type === "session" && message.id === this.id) this.take(message);
  }

  tick(): void {
    this.object.tick();
  }

  restyle(): void {
    this.curves.restyle();
  }

  close(): void {
    for (const panel of [this.object, this.probe, this.curves]) panel.close();
  }

  private setClock({ now_s }: ServerMessage): void {
    this.object.clockAhead_s = now_s - Date.now() / 1000;
  }

  private take(message: SessionMessage): void {
    const { session } = message;
    const words =
      session === null
        ? "there is no such session on the server; it appears here when it is created"
        : session.snapshot_version === 0
          ? "no picture yet: the first one comes with the first snapshot"
          : "";
    say(this.notice, words);
    for (const panel of [this.object, this.probe, this.curves, this.figures, this.control])
      panel.update(message);
    if (session !== null) say(this.config, JSON.stringify(session.config, null, 2));
  }
}
