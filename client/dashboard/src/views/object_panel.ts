/** The object, twice: in two quantities side by side, moved and enlarged together. */

import { type ComplexArray, type RealArray, decodeComplex, decodeReal } from "../data/array_file";
import type { SessionMessage } from "../data/messages";
import { Latest, request } from "../data/transport";
import { choice, h, saveFile, say, toggle } from "../dom";
import { statistics, wholeOf } from "../image/auto_range";
import { CYCLIC, type CyclicName, SEQUENTIAL, type SequentialName } from "../image/colour_maps";
import { type Linked, Pane } from "../image/pane";
import { NO_REFERENCE, phaseReference } from "../image/phase_reference";
import { type Quantity, type Range, type Shading, WHOLE_CIRCLE } from "../image/shading";
import { duration } from "../units";
import { ColourBar } from "./colour_bar";
import { MARK_COLUMNS, type MarkColumn, marks } from "./marks";
import { RangeControl } from "./range_control";

const POINTS_INTERVAL_MS = 1000;
const OLD_S = 10;
/** Of the circle: phases that fill more of it are shown on all of it. */
const WHOLE_FROM = 0.75 * 2 * Math.PI;
const NO_MARKS = "none";
type MarkChoice = MarkColumn | typeof NO_MARKS;

interface View {
  shading: Shading;
  pane: Pane;
  bar: ColourBar;
}

export class ObjectPanel {
  readonly element: HTMLElement;
  private readonly views: View[];
  private readonly linked: Linked;
  private readonly live: Latest<ComplexArray>;
  private readonly points: Latest<RealArray>;
  private readonly coverage: Latest<RealArray>;
  private readonly amplitude: RangeControl;
  private readonly phase: RangeControl;
  private readonly past = h("input", {
    type: "range",
    min: "0",
    max: "0",
    class: "past",
    "aria-label": "earlier versions",
  });
  private readonly pastText = h("span", { class: "past-text" }, "live");
  private kept: number[] = [];
  private newest: ComplexArray | null = null;
  private shown: ComplexArray | null = null;
  private pointArray: RealArray | null = null;
  private markColumn: MarkChoice = NO_MARKS;
  private removeRamp = true;
  private removeConstant = true;
  private showCoverage = false;
  private final = false;
  private wantedVersion = "";
  private frame = 0;
  /** By which the gateway's clock is ahead of this machine's, seconds. */
  clockAhead_s = 0;
  frameShape: [number, number] = [0, 0];

  constructor(private readonly id: string) {
    const path = `api/sessions/${id}/arrays`;
    this.linked = {
      view: null,
      cursor: null,
      region: null,
      marks: [],
      coverage: null,
      changed: () => this.redraw(),
    };
    this.live = new Latest(`${path}/object`, 0, decodeComplex, (image) => this.take(image));
    this.points = new Latest(`${path}/points`, POINTS_INTERVAL_MS, decodeReal, (array) => {
      this.pointArray = array;
      this.mark();
    });
    this.coverage = new Latest(`${path}/coverage`, POINTS_INTERVAL_MS, decodeReal, (array) => {
      this.linked.coverage = this.showCoverage ? array : null;
      this.redraw();
    });
    this.amplitude = new RangeControl("amplitude", [0, 1], (range) =>
      this.setRange("amplitude", range),
    );
    this.phase = new RangeControl("phase", WHOLE_CIRCLE, (range) => this.setRange("phase", range));
    this.views = [this.view("amplitude"), this.view("phase")];
    this.past.oninput = () => void this.showPast();
    this.element = h(
      "section",
      { class: "object panel" },
      this.toolbar(),
      h(
        "div",
        { class: "panes" },
        ...this.views.map((view, k) =>
          h(
            "div",
            { class: "pane-column" },
            this.quantity(view, k),
            view.pane.element,
            view.bar.element,
          ),
        ),
      ),
      h(
        "div",
        { class: "toolbar" },
        h(
          "label",
          { class: "field past-field" },
          h("span", {}, "history"),
          this.past,
          this.pastText,
        ),
        this.button("PNG", "Both pictures with their scale bars", () => void this.png()),
        h(
          "a",
          {
            class: "button",
            href: `api/sessions/${id}/result.cxi`,
            download: "",
            title: "Object, probe, points and settings of the newest snapshot",
          },
          "CXI",
        ),
      ),
    );
  }

  update(message: SessionMessage): void {
    if (message.session === null) return;
    this.kept = message.kept_versions;
    this.final = /COMPLETED|STOPPED|FAILED/.test(message.session.state);
    const live = this.isLive;
    this.past.max = String(Math.max(0, this.kept.length - 1));
    if (live) this.past.value = this.past.max;
    if (message.session.snapshot_version === 0) return;
    this.wantedVersion = `${message.epoch}-${message.session.snapshot_version}`;
    this.live.want(this.wantedVersion);
    this.wantOverlays();
  }

  /** The age on the picture goes on while nothing comes. */
  tick(): void {
    const { shown } = this;
    if (shown === null) return;
    const age_s = Date.now() / 1000 + this.clockAhead_s - shown.header.time_s;
    const parts = [`version ${shown.header.version}`, `iteration ${shown.header.iteration}`];
    if (shown.header.downsample > 1)
      parts.push(`mean of ${shown.header.downsample} × ${shown.header.downsample} pixels`);
    const old = !this.isLive;
    if (old) parts.push("an earlier picture");
    else if (shown.header.final) parts.push("final");
    else parts.push(`${duration(age_s)} old`);
    const stale = old || (!this.final && age_s > OLD_S);
    for (const { pane } of this.views) pane.setCaption(parts.join(" · "), stale);
  }

  close(): void {
    for (const array of [this.live, this.points, this.coverage]) array.close();
    cancelAnimationFrame(this.frame);
  }

  private get isLive(): boolean {
    return this.past.value === this.past.max;
  }

  private view(quantity: Quantity): View {
    const shading: Shading = {
      quantity,
      amplitude: [0, 1],
      phase: WHOLE_CIRCLE,
      map: quantity === "phase" ? "blue to yellow" : "grey",
      cyclicMap: "blue and yellow",
      reference: NO_REFERENCE,
    };
    return { shading, pane: new Pane(quantity, shading, this.linked), bar: new ColourBar() };
  }

  private quantity(view: View, k: number): HTMLElement {
    const { shading } = view;
    const names: Quantity[] = ["amplitude", "phase", "complex"];
    const maps = choice("map", Object.keys(SEQUENTIAL), shading.map, (name) => {
      shading.map = name as SequentialName;
      this.redraw();
    });
    const cyclic = choice("circle", Object.keys(CYCLIC), shading.cyclicMap, (name) => {
      shading.cyclicMap = name as CyclicName;
      this.redraw();
    });
    cyclic.element.title = "Colours of phases on the whole circle";
    const quantity = choice(k === 0 ? "left" : "right", names, shading.quantity, (name) => {
      shading.quantity = name as Quantity;
      this.redraw();
    });
    return h("div", { class: "toolbar" }, quantity.element, maps.element, cyclic.element);
  }

  private toolbar(): HTMLElement {
    const position = choice("positions", [NO_MARKS, ...MARK_COLUMNS], NO_MARKS, (name) => {
      this.markColumn = name as MarkChoice;
      this.mark();
      this.wantOverlays();
    });
    return h(
      "div",
      { class: "toolbar" },
      this.amplitude.element,
      this.phase.element,
      toggle("without global phase", true, "Takes the mean phase out of what is shown", (on) => {
        this.removeConstant = on;
        this.reshade();
      }),
      toggle("without ramp", true, "Takes a linear phase out of what is shown", (on) => {
        this.removeRamp = on;
        this.reshade();
      }),
      position.element,
      toggle("coverage", false, "Covers what has seen little light", (on) => {
        this.showCoverage = on;
        this.linked.coverage = null;
        this.coverage.want(on ? `${this.wantedVersion} on` : "");
        this.redraw();
      }),
      this.button("range of region", "Contrast of the region that was drawn with Shift", () =>
        this.rangeOfRegion(),
      ),
      this.button("fit", "All of the object (0)", () => {
        this.linked.view = null;
        this.redraw();
      }),
    );
  }

  private button(text: string, title: string, onclick: () => void): HTMLElement {
    return h("button", { type: "button", title, onclick }, text);
  }

  private take(image: ComplexArray): void {
    this.newest = image;
    if (this.isLive) this.show(image);
  }

  private show(image: ComplexArray): void {
    this.shown = image;
    this.reshade();
    for (const { pane } of this.views) pane.setImage(image);
    this.element.dataset.version = String(image.header.version);
    this.tick();
  }

  /** Reference and ranges anew, of the picture that is shown. */
  private reshade(): void {
    const image = this.shown;
    if (image === null) return;
    const reference = { ...NO_REFERENCE };
    if (this.removeConstant || this.removeRamp) {
      Object.assign(reference, phaseReference(image, this.removeRamp));
      if (!this.removeConstant) reference.constant = 0;
    }
    for (const { shading } of this.views) shading.reference = reference;
    const found = statistics(image, reference, wholeOf(image));
    if (found) this.applyFound(found.amplitude, found.phase);
    this.redraw();
  }

  private applyFound(amplitude: Range, phase: Range): void {
    const most = 1.25 * amplitude[1];
    if (this.amplitude.automatic) {
      this.each((shading) => {
        shading.amplitude = amplitude;
      });
      this.amplitude.show(amplitude, [0, most]);
    }
    if (this.phase.automatic) {
      const range = phase[1] - phase[0] > WHOLE_FROM ? WHOLE_CIRCLE : phase;
      this.each((shading) => {
        shading.phase = range;
      });
      this.phase.show(range);
    }
  }

  private setRange(what: "amplitude" | "phase", range: Range | null): void {
    if (range === null) this.reshade();
    else
      this.each((shading) => {
        shading[what] = range;
      });
    this.redraw();
  }

  private rangeOfRegion(): void {
    const image = this.shown;
    const box = image && this.views[0]!.pane.box(image);
    const found = box && statistics(image, this.views[0]!.shading.reference, box);
    if (found) this.applyFound(found.amplitude, found.phase);
    this.redraw();
  }

  private each(change: (shading: Shading) => void): void {
    for (const { shading } of this.views) change(shading);
  }

  private wantOverlays(): void {
    if (this.markColumn !== NO_MARKS) this.points.want(this.wantedVersion);
    if (this.showCoverage) this.coverage.want(this.wantedVersion);
  }

  private mark(): void {
    const { pointArray, markColumn } = this;
    this.linked.marks =
      pointArray === null || markColumn === NO_MARKS
        ? []
        : marks(pointArray, markColumn, this.frameShape);
    this.redraw();
  }

  private async showPast(): Promise<void> {
    if (this.isLive) {
      say(this.pastText, "live");
      if (this.newest) this.show(this.newest);
      return;
    }
    const version = this.kept[Number(this.past.value)];
    if (version === undefined) return;
    say(this.pastText, `version ${version}`);
    try {
      const response = await request(`api/sessions/${this.id}/arrays/object?version=${version}`);
      const image = decodeComplex(await response.arrayBuffer());
      if (!this.isLive && this.kept[Number(this.past.value)] === version) this.show(image);
    } catch (error) {
      say(this.pastText, error instanceof Error ? error.message : String(error));
    }
  }

  private async png(): Promise<void> {
    const image = this.shown;
    if (image === null) return;
    for (const { pane, shading } of this.views) {
      const name = `${this.id}-${image.header.iteration}-${shading.quantity}`;
      saveFile(
        await pane.png(`${this.id} · ${shading.quantity} · iteration ${image.header.iteration}`),
        `${name}.png`,
      );
    }
  }

  /** All panes, once, with the next frame of the screen. */
  private redraw(): void {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      for (const { pane, bar, shading } of this.views) {
        pane.draw();
        bar.update(shading);
      }
    });
  }
}
