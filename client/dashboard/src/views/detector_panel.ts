/** A frame of the detector: what was measured, what the model expects, and how far they are apart. */

import { type FrameImage, decodeFrame } from "../data/frame_file";
import { type Session, type SessionMessage, isFinal } from "../data/messages";
import type { GatewayError } from "../data/request";
import { Latest } from "../data/transport";
import { choice, h, say } from "../dom";
import { FramePane, type LinkedFrame } from "../image/frame_pane";
import {
  COUNT_COLOURS,
  RESIDUAL_COLOURS,
  UNTRUSTED,
  countScale,
  countTicks,
  mostCounts,
  residual,
  residualLimit,
  residualScale,
  residuals,
} from "../image/frame_shading";
import { counts as countWords, duration, number, short } from "../units";
import { TickBar } from "./tick_bar";

const INTERVAL_MS = 500;
const OLD_S = 10;
/** By how much an age may be wrong without a word. */
const SURE_S = 2;
const NAMES = ["measured", "expected", "residual"] as const;
type Name = (typeof NAMES)[number];

/** What the buttons ask of others. */
interface Asks {
  worst: () => void;
  newest: () => void;
  /** All three pictures, or one. */
  arranged: () => void;
}

export class DetectorPanel {
  private readonly linked: LinkedFrame = { view: null, frame: null, changed: () => this.redraw() };
  private readonly panes: Record<Name, FramePane>;
  private readonly countBar = new TickBar(COUNT_COLOURS);
  private readonly residualBar = new TickBar(RESIDUAL_COLOURS);
  private readonly note = h("span", { class: "note" });
  private readonly newestButton: HTMLButtonElement;
  private readonly besideButton: HTMLButtonElement;
  readonly element: HTMLElement;
  private data: Latest<FrameImage>;
  private session: Session | null = null;
  private epoch = "";
  /** null: the newest one is shown. */
  private picked: { frameId: number; words: string } | null = null;
  private visible = false;
  private frameRequest = 0;
  private readonly seen = new IntersectionObserver((entries) => {
    this.visible = entries[entries.length - 1]!.isIntersecting;
    this.want();
  });
  private readonly onVisibility = () => this.want();
  /** By which the gateway's clock is ahead of this machine's, seconds. */
  clockAhead_s = 0;

  constructor(
    private readonly id: string,
    asks: Asks,
  ) {
    const tell = (frame: FrameImage, row: number, col: number) => this.tell(frame, row, col);
    const pane = (name: Name) => new FramePane(name, this.linked, tell);
    this.panes = {
      measured: pane("measured"),
      expected: pane("expected"),
      residual: pane("residual"),
    };
    this.data = this.source("newest");
    const button = (text: string, title: string, onclick: () => void) =>
      h("button", { type: "button", title, onclick }, text);
    this.newestButton = button("newest", "Follows the newest frame again (n)", asks.newest);
    this.besideButton = button(
      "side by side",
      "Measured, expected and residual beside one another, in the place of the curves (d)",
      asks.arranged,
    );
    const what = choice("show", NAMES, "measured", (name) => {
      this.element.dataset.show = name;
      this.redraw();
    });
    what.element.classList.add("what");
    const untrusted = h("span", { class: "untrusted" }, "not trusted");
    untrusted.style.setProperty("--untrusted", `rgb(${UNTRUSTED.join(" ")})`);
    this.element = h(
      "section",
      { class: "panel detector", "data-show": "measured" },
      h(
        "div",
        { class: "head" },
        h("h2", {}, "Detector ", this.note),
        h(
          "div",
          { class: "toolbar" },
          what.element,
          this.newestButton,
          button(
            "worst fit",
            "The frame with the largest R-factor; again: the one with the next (w)",
            asks.worst,
          ),
        ),
        this.besideButton,
      ),
      h(
        "div",
        { class: "frames" },
        ...NAMES.map((name) =>
          h("div", { class: `pane-column ${name}` }, this.panes[name].element),
        ),
      ),
      h(
        "div",
        { class: "bars" },
        h("div", { class: "bar counts" }, this.countBar.element, untrusted),
        h(
          "div",
          { class: "bar deviation", title: "(measured − expected) / √(expected + 1)" },
          this.residualBar.element,
        ),
      ),
    );
    this.newestButton.disabled = true;
    this.seen.observe(this.element);
    document.addEventListener("visibilitychange", this.onVisibility);
    this.showWords("no frame has come yet");
  }

  update({ session, epoch }: SessionMessage): void {
    this.session = session;
    this.epoch = epoch;
    this.want();
    this.tick();
  }

  /** Shows a frame by its id, of which `words` tell something; null: the newest one. */
  show(picked: { frameId: number; words: string } | null): void {
    this.data.close();
    this.picked = picked;
    this.newestButton.disabled = picked === null;
    this.data = this.source(picked === null ? "newest" : String(picked.frameId));
    this.want();
  }

  /** All three beside one another? */
  arrange(beside: boolean): void {
    say(this.besideButton, beside ? "one picture" : "side by side");
    this.linked.view = null;
  }

  /** The age on the picture goes on while nothing comes. */
  tick(): void {
    const { frame } = this.linked;
    if (frame === null) return;
    const { frame_id, time_s, uncertain_s, version } = frame.header;
    const parts = [`frame ${frame_id}`];
    let stale = false;
    if (this.picked) {
      // Until it has come, the frame before is shown, of which the words are not.
      if (this.picked.words && this.picked.frameId === frame_id) parts.push(this.picked.words);
    } else if (this.final) parts.push("the last one");
    else if (time_s !== null) {
      const age_s = Date.now() / 1000 + this.clockAhead_s - time_s;
      const sure = uncertain_s !== null && uncertain_s < SURE_S;
      parts.push(`${sure ? "" : "at least "}${duration(age_s)} old`);
      stale = age_s > OLD_S && !this.complete;
    }
    const expectation = version > 0 ? [parts[0], `version ${version}`] : [];
    this.panes.measured.setCaption(parts.join(" · "), stale);
    this.panes.expected.setCaption(["expected", ...expectation].join(" · "), false);
    this.panes.residual.setCaption(["residual", ...expectation].join(" · "), false);
  }

  close(): void {
    this.data.close();
    this.seen.disconnect();
    document.removeEventListener("visibilitychange", this.onVisibility);
    cancelAnimationFrame(this.frameRequest);
  }

  private get final(): boolean {
    return this.session !== null && isFinal(this.session.state);
  }

  /** All frames that were expected have come; no other has to. */
  private get complete(): boolean {
    const expected = this.session?.config.scan?.expected_points ?? 0;
    return expected > 0 && (this.session?.frames?.accepted ?? 0) >= expected;
  }

  private source(which: string): Latest<FrameImage> {
    return new Latest(
      `api/sessions/${this.id}/frames/${which}`,
      INTERVAL_MS,
      decodeFrame,
      (frame) => this.take(frame),
      (error) => this.refuse(error),
    );
  }

  /** Asks for what may have changed, if somebody can see it. */
  private want(): void {
    const { session } = this;
    if (session === null || !this.visible || document.visibilityState !== "visible") return;
    const accepted = session.frames?.accepted ?? 0;
    if (accepted === 0) return;
    const news = this.picked === null ? `${accepted}-${session.staged_frames}` : "";
    this.data.want([this.epoch, session.snapshot_version, session.state, news].join());
  }

  private take(frame: FrameImage): void {
    this.linked.frame = frame;
    const { counts, expected } = frame;
    const most = mostCounts(counts);
    const part = countScale(most);
    this.countBar.update(
      countTicks(most).map((value) => ({ part: part(value), label: short(value) })),
    );
    this.panes.measured.show({ values: counts, part, table: COUNT_COLOURS });
    if (expected === null) {
      const words = "no picture of the object has this frame yet";
      this.panes.expected.show(null, words);
      this.panes.residual.show(null, words);
    } else {
      this.panes.expected.show({ values: expected, part, table: COUNT_COLOURS });
      this.showResiduals(residuals(counts, expected));
    }
    const { downsample } = frame.header;
    say(
      this.note,
      `${frame.cols * downsample} × ${frame.rows * downsample} pixels${
        downsample > 1 ? `, means of ${downsample} × ${downsample}` : ""
      }`,
    );
    this.element.dataset.frame = String(frame.header.frame_id);
    this.element.dataset.version = String(frame.header.version);
    this.tick();
    this.redraw();
  }

  private showResiduals(values: Float32Array): void {
    const limit = residualLimit(values);
    const part = residualScale(limit);
    this.panes.residual.show({ values, part, table: RESIDUAL_COLOURS });
    this.residualBar.update(
      [-limit, 0, limit].map((value) => ({ part: part(value), label: signed(value) })),
    );
  }

  private refuse(error: GatewayError): void {
    this.showWords(error.message);
  }

  /** In the place of the pictures. */
  private showWords(words: string): void {
    this.linked.frame = null;
    delete this.element.dataset.frame;
    for (const pane of Object.values(this.panes)) {
      pane.show(null, words);
      pane.setCaption("", false);
    }
  }

  private tell(frame: FrameImage, row: number, col: number): string {
    const k = row * frame.cols + col;
    const { downsample } = frame.header;
    const counts = frame.counts[k]!;
    const lines = [
      `row ${row * downsample}  col ${col * downsample}`,
      Number.isNaN(counts) ? "not trusted" : `counts ${countWords(counts)}`,
    ];
    if (frame.expected) lines.push(`expected ${countWords(frame.expected[k]!)}`);
    if (frame.expected && !Number.isNaN(counts))
      lines.push(`residual ${number(residual(counts, frame.expected[k]!), 2).replace("-", "−")}`);
    return lines.join("  ");
  }

  private redraw(): void {
    if (this.frameRequest) return;
    this.frameRequest = requestAnimationFrame(() => {
      this.frameRequest = 0;
      for (const pane of Object.values(this.panes)) pane.draw();
    });
  }
}

function signed(value: number): string {
  return value > 0 ? `+${value}` : String(value).replace("-", "−");
}
