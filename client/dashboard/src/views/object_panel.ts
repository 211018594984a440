/** The object, twice: in two quantities side by side, moved and enlarged together. */

import { type ComplexArray, type RealArray, decodeComplex, decodeReal } from "../data/array_file";
import { fetchFile } from "../data/file_fetcher";
import type { SessionMessage } from "../data/messages";
import { frameIds, pointAt, worstFit } from "../data/point_table";
import { Latest } from "../data/transport";
import { choice, h, saveFile, say, toggle } from "../dom";
import { statistics, wholeOf } from "../image/auto_range";
import { CYCLIC, type CyclicName, SEQUENTIAL, type SequentialName } from "../image/colour_maps";
import { type Cutout, suffices } from "../image/cutout";
import { type Linked, type Mark, Pane } from "../image/pane";
import { NO_REFERENCE, phaseReference } from "../image/phase_reference";
import { type Quantity, type Range, type Shading, WHOLE_CIRCLE, onCircle } from "../image/shading";
import { duration } from "../units";
import { ColourBar } from "./colour_bar";
import { MARK_COLOURS, type MarkColour, marks } from "./marks";
import { RangeControl } from "./range_control";

const POINTS_INTERVAL_MS = 1000;
const OLD_S = 10;
/** Of the circle: phases that fill more of it are shown on all of it. */
const WHOLE_FROM = 0.75 * 2 * Math.PI;
const NO_MARKS = "none";
type MarkChoice = MarkColour | typeof NO_MARKS;
/** The view has to be at rest so long before a finer picture of it is asked for. */
const REST_MS = 150;

interface View {
  shading: Shading;
  pane: Pane;
  bar: ColourBar;
  /** Choices of colours, of which one has a meaning for what is shown. */
  maps: HTMLElement;
  cyclicMaps: HTMLElement;
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
  /** A finer part of what is shown, as it is seen now. */
  private detail: ComplexArray | null = null;
  /** The newest question for it; answers to earlier ones come too late. */
  private detailAsked: object | null = null;
  private restTimer: number | undefined;
  /** What of which version was asked for last. */
  private asked = "";
  private picture_px = 0;
  private pointArray: RealArray | null = null;
  /** Ids of the frames of the picture before that of `pointArray`. */
  private framesBefore: Set<number> | null = null;
  private markColour: MarkChoice = NO_MARKS;
  private removeRamp = true;
  private removeConstant = true;
  private showCoverage = false;
  private final = false;
  private wantedVersion = "";
  private frame = 0;
  /** By which the gateway's clock is ahead of this machine's, seconds. */
  clockAhead_s = 0;
  /** [rows, cols] of a frame, pixels; null: not known yet. */
  private frameShape: [number, number] | null = null;

  /** @param onPick a position was clicked. */
  constructor(
    private readonly id: string,
    onPick: (mark: Mark) => void,
  ) {
    const path = `api/sessions/${id}/arrays`;
    this.linked = {
      view: null,
      cursor: null,
      region: null,
      marks: [],
      picked: null,
      onPick,
      coverage: null,
      changed: () => this.redraw(),
    };
    this.live = new Latest(`${path}/object`, 0, decodeComplex, (image) => this.take(image));
    this.points = new Latest(`${path}/points`, POINTS_INTERVAL_MS, decodeReal, (array) => {
      const before = this.pointArray;
      if (before && before.header.version !== array.header.version)
        this.framesBefore = frameIds(before);
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
    this.picture_px = message.picture_px;
    this.final = /COMPLETED|STOPPED|FAILED/.test(message.session.state);
    const live = this.isLive;
    this.past.max = String(Math.max(0, this.kept.length - 1));
    if (live) this.past.value = this.past.max;
    if (message.session.snapshot_version === 0) return;
    this.wantedVersion = `${message.epoch}-${message.session.snapshot_version}`;
    this.live.want(this.wantedVersion);
    this.wantOverlays();
  }

  /** Without it, it is not known where in its window a position is. */
  setFrameShape(shape: [number, number]): void {
    if (shape.join() === this.frameShape?.join()) return;
    this.frameShape = shape;
    this.mark();
  }

  /** The age on the picture goes on while nothing comes. */
  tick(): void {
    const { shown, detail } = this;
    if (shown === null) return;
    const { version, iteration, time_s, final } = (detail ?? shown).header;
    const age_s = Date.now() / 1000 + this.clockAhead_s - time_s;
    const parts = [`version ${version}`, `iteration ${iteration}`];
    if (detail) parts.push(`here ${resolution(detail)}`);
    else if (shown.header.downsample > 1) parts.push(resolution(shown));
    const old = !this.isLive;
    if (old) parts.push("an earlier picture");
    else if (final) parts.push("final");
    else parts.push(`${duration(age_s)} old`);
    const stale = old || (!this.final && age_s > OLD_S);
    for (const { pane } of this.views) pane.setCaption(parts.join(" · "), stale);
  }

  /** The point with the largest R-factor of those whose frames are not in `seen`; null: there is none. */
  async worst(seen: ReadonlySet<number>): Promise<{ mark: Mark; rFactor: number } | null> {
    const { file } = await fetchFile(`api/sessions/${this.id}/arrays/points`);
    const points = decodeReal(file!);
    const found = worstFit(points, seen);
    if (found === null || this.frameShape === null) return null;
    const mark = { ...pointAt(points, found.k, this.frameShape), colour: "" };
    return { mark, rFactor: found.rFactor };
  }

  /** Rings the point whose frame is looked at. */
  setPicked(mark: Mark | null): void {
    this.linked.picked = mark;
    this.redraw();
  }

  close(): void {
    for (const array of [this.live, this.points, this.coverage]) array.close();
    cancelAnimationFrame(this.frame);
    this.dropDetail();
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
    const maps = choice("map", Object.keys(SEQUENTIAL), shading.map, (name) => {
      shading.map = name as SequentialName;
      this.redraw();
    });
    const cyclic = choice("map", Object.keys(CYCLIC), shading.cyclicMap, (name) => {
      shading.cyclicMap = name as CyclicName;
      this.redraw();
    });
    cyclic.element.title = "Colours of phases on the whole circle";
    return {
      shading,
      pane: new Pane(quantity, shading, this.linked),
      bar: new ColourBar(),
      maps: maps.element,
      cyclicMaps: cyclic.element,
    };
  }

  private quantity(view: View, k: number): HTMLElement {
    const { shading } = view;
    const names: Quantity[] = ["amplitude", "phase", "complex"];
    const quantity = choice(k === 0 ? "left" : "right", names, shading.quantity, (name) => {
      shading.quantity = name as Quantity;
      this.redraw();
    });
    return h("div", { class: "toolbar" }, quantity.element, view.maps, view.cyclicMaps);
  }

  private toolbar(): HTMLElement {
    const position = choice("positions", [NO_MARKS, ...MARK_COLOURS], NO_MARKS, (name) => {
      this.markColour = name as MarkChoice;
      this.mark();
      this.wantOverlays();
    });
    position.element.title =
      "Where frames were taken; what is new: since the picture before. A click shows the frame";
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

  /** While a part is seen enlarged, a newer picture is shown when that part of it is there, too. */
  private async take(image: ComplexArray): Promise<void> {
    this.newest = image;
    if (!this.isLive) return;
    const needed = this.neededOf(image);
    const detail = needed && (await this.fetchDetail(image, needed));
    if (this.isLive) this.show(image, detail);
  }

  private show(image: ComplexArray, detail: ComplexArray | null = null): void {
    this.dropDetail();
    this.shown = image;
    this.setDetail(detail);
    this.reshade();
    this.element.dataset.version = String(image.header.version);
  }

  private setDetail(detail: ComplexArray | null): void {
    this.detail = detail;
    if (this.shown) for (const { pane } of this.views) pane.setImage(this.shown, detail);
    this.element.dataset.detail = detail ? String(detail.header.downsample) : "";
    this.tick();
  }

  private dropDetail(): void {
    window.clearTimeout(this.restTimer);
    this.detailAsked = null;
    this.detail = null;
    this.asked = "";
  }

  /** What of an image is needed at a finer resolution; pictures of the past stay as they are. */
  private neededOf(image: ComplexArray): Cutout | null {
    return this.isLive ? this.views[0]!.pane.needed(image, this.picture_px) : null;
  }

  /** Has the finer part follow the view. */
  private followView(): void {
    const { shown, detail } = this;
    if (shown === null) return;
    const needed = this.neededOf(shown);
    if (needed === null && detail) this.setDetail(null);
    const asked = needed ? JSON.stringify([shown.header.version, needed]) : "";
    if (asked === this.asked) return; // It is under way, or cannot be had.
    window.clearTimeout(this.restTimer);
    this.asked = asked;
    if (needed === null || (detail && suffices(detail, needed))) return;
    this.restTimer = window.setTimeout(async () => {
      const found = await this.fetchDetail(shown, needed);
      if (found && shown === this.shown) this.setDetail(found);
    }, REST_MS);
  }

  /** null when it cannot be had, or is no longer wanted. */
  private async fetchDetail(image: ComplexArray, needed: Cutout): Promise<ComplexArray | null> {
    const asking = { image };
    this.detailAsked = asking;
    const { row, col, rows, cols } = needed.region;
    const query = `version=${image.header.version}&region=${row},${col},${rows},${cols}&downsample=${needed.downsample}`;
    try {
      const path = `api/sessions/${this.id}/arrays/object?${query}`;
      const { file } = await fetchFile(path);
      return this.detailAsked === asking ? decodeComplex(file!) : null;
    } catch {
      return null; // The coarse picture is there, and why the server does not answer is told elsewhere.
    }
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
    if (this.markColour !== NO_MARKS) this.points.want(this.wantedVersion);
    if (this.showCoverage) this.coverage.want(this.wantedVersion);
  }

  private mark(): void {
    const { pointArray, markColour, frameShape } = this;
    this.linked.marks =
      pointArray === null || frameShape === null || markColour === NO_MARKS
        ? []
        : marks(pointArray, markColour, this.framesBefore, frameShape);
    this.element.dataset.marks = String(this.linked.marks.length);
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
      const path = `api/sessions/${this.id}/arrays/object?version=${version}`;
      const image = decodeComplex((await fetchFile(path)).file!);
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
      for (const { pane, bar, shading, maps, cyclicMaps } of this.views) {
        pane.draw();
        bar.update(shading);
        const cyclic = onCircle(shading);
        maps.hidden = cyclic || shading.quantity === "complex";
        cyclicMaps.hidden = !cyclic;
      }
      this.followView();
    });
  }
}

function resolution(image: ComplexArray): string {
  const { downsample } = image.header;
  return downsample > 1 ? `mean of ${downsample} × ${downsample} pixels` : "pixel by pixel";
}
