/** One session: pictures, curves, figures. */

import type { Message, ServerMessage, SessionMessage } from "../data/messages";
import { h, say } from "../dom";
import type { Mark } from "../image/pane";
import { number } from "../units";
import { ControlPanel } from "./control_panel";
import { CurvesPanel } from "./curves_panel";
import { DetectorPanel } from "./detector_panel";
import { FiguresPanel } from "./figures_panel";
import { keysDialog } from "./keys_dialog";
import { ObjectPanel } from "./object_panel";
import { ProbePanel } from "./probe_panel";

export class SessionView {
  private readonly object: ObjectPanel;
  private readonly detector: DetectorPanel;
  private readonly probe: ProbePanel;
  private readonly curves: CurvesPanel;
  private readonly figures = new FiguresPanel();
  private readonly control: ControlPanel;
  private readonly notice = h("p", { class: "notice", role: "status" }, "waiting for the session");
  private readonly config = h("pre");
  private readonly onKey = (event: KeyboardEvent) => this.key(event);
  /** Frames that "worst fit" has shown since another one was picked. */
  private seen = new Set<number>();
  readonly element: HTMLElement;

  constructor(private readonly id: string) {
    this.object = new ObjectPanel(id, (mark) => this.pick(mark));
    this.detector = new DetectorPanel(id, {
      worst: () => void this.pickWorst(),
      newest: () => this.pick(null),
      arranged: () => this.arrange(),
    });
    this.curves = new CurvesPanel(id);
    this.probe = new ProbePanel(id, (shape) => this.object.setFrameShape(shape));
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
        h("button", { type: "button", title: "Keys (?)", onclick: keysDialog }, "keys"),
      ),
      this.object.element,
      this.detector.element,
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
    document.addEventListener("keydown", this.onKey);
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
    this.detector.tick();
  }

  restyle(): void {
    this.curves.restyle();
  }

  close(): void {
    for (const panel of [this.object, this.detector, this.probe, this.curves]) panel.close();
    document.removeEventListener("keydown", this.onKey);
  }

  /** Shows the frame of a point; null: the newest one. */
  private pick(mark: Mark | null, words = ""): void {
    this.seen.clear();
    this.object.setPicked(mark);
    this.detector.show(mark && { frameId: mark.frameId, words });
  }

  private async pickWorst(): Promise<void> {
    try {
      const found = (await this.object.worst(this.seen)) ?? (await this.object.worst(new Set()));
      if (found === null) {
        say(this.notice, "no point has an R-factor of its own yet");
        return;
      }
      const seen = [...this.seen, found.mark.frameId];
      this.pick(found.mark, `R-factor ${number(found.rFactor, 3)}`);
      this.seen = new Set(seen);
    } catch (error) {
      say(this.notice, error instanceof Error ? error.message : String(error));
    }
  }

  /** Three pictures of the frame in the place of the curves, or one beside the object. */
  private arrange(): void {
    this.detector.arrange(this.element.classList.toggle("beside"));
  }

  private key(event: KeyboardEvent): void {
    const { target } = event;
    const typing = target instanceof Element && target.closest("input, select, textarea, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "w") void this.pickWorst();
    else if (event.key === "n") this.pick(null);
    else if (event.key === "d") this.arrange();
    else if (event.key === "?") keysDialog();
    else return;
    event.preventDefault();
  }

  private setClock({ now_s }: ServerMessage): void {
    this.object.clockAhead_s = this.detector.clockAhead_s = now_s - Date.now() / 1000;
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
    for (const panel of [
      this.object,
      this.detector,
      this.probe,
      this.curves,
      this.figures,
      this.control,
    ])
      panel.update(message);
    if (session !== null) say(this.config, JSON.stringify(session.config, null, 2));
  }
}
