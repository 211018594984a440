/** State, progress and input of a session, in figures and words. */

import {
  type Session,
  type SessionMessage,
  isFinal,
  reasonWords,
  stateWord,
} from "../data/messages";
import { h, say } from "../dom";
import { bytes, count, duration, number, rate } from "../units";

export class FiguresPanel {
  private readonly state = h("span", { class: "state" });
  private readonly progress = h("progress", { max: 1, value: 0 });
  private readonly run = h("dl");
  private readonly ingest = h("dl");
  private readonly warnings = h("ul", { class: "warnings" });
  readonly element = h(
    "div",
    { class: "figures" },
    h(
      "section",
      { class: "panel" },
      h("h2", {}, "Run", this.state),
      this.progress,
      this.run,
      this.warnings,
    ),
    h("section", { class: "panel" }, h("h2", {}, "Input"), this.ingest),
  );
  framesPerSecond = 0;

  update(message: SessionMessage): void {
    const { session } = message;
    if (session === null) return;
    say(this.state, stateWord(session.state));
    this.state.dataset.state = stateWord(session.state);
    const expected = session.config.scan?.expected_points ?? 0;
    const accepted = session.frames?.accepted ?? 0;
    this.progress.value =
      expected > 0 ? Math.min(1, accepted / expected) : isFinal(session.state) ? 1 : 0;
    list(this.run, runFigures(session));
    list(this.ingest, inputFigures(session, expected, this.framesPerSecond));
    const words = [...(session.failure ? [session.failure] : []), ...session.warnings];
    if (session.durability_failure) words.push(session.durability_failure);
    if (words.join() !== [...this.warnings.children].map((item) => item.textContent).join()) {
      this.warnings.replaceChildren(...words.map((text) => h("li", {}, text)));
    }
  }
}

type Figure = [name: string, value: string, title?: string];

/** Keeps the elements that there are, so that a title under the pointer stays. */
function list(element: HTMLElement, figures: Figure[]): void {
  while (element.childElementCount > 2 * figures.length) element.lastElementChild!.remove();
  for (const [k, [name, value, title]] of figures.entries()) {
    if (element.childElementCount <= 2 * k) element.append(h("dt"), h("dd"));
    const term = element.children[2 * k] as HTMLElement;
    const text = element.children[2 * k + 1] as HTMLElement;
    say(term, name);
    say(text, value);
    term.title = text.title = title ?? "";
  }
}

function runFigures(session: Session): Figure[] {
  const { metrics } = session;
  const evaluation = metrics?.evaluation;
  const fit = session.final_fit ?? evaluation?.fit;
  const figures: Figure[] = [
    ["iteration", `${count(session.iteration)} at ${rate(session.iterations_per_second)} / s`],
    [
      "R-factor",
      number(fit?.r_factor ?? metrics?.r_factor),
      fit ? "of all points" : "of a sample of the points",
    ],
    ["Poisson NLL", number(fit?.poisson_nll, 3), "1: the noise alone"],
  ];
  if (evaluation?.held_out)
    figures.push([
      "held out",
      number(evaluation.held_out.poisson_nll, 3),
      "Poisson NLL of the points that are not used",
    ]);
  figures.push(
    ["elapsed", metrics?.elapsed_s ? duration(metrics.elapsed_s) : "–"],
    [
      "coverage",
      metrics?.coverage ? `${(100 * metrics.coverage).toFixed(0)} %` : "–",
      "of the scanned area",
    ],
    ["device", `${session.device}, ${bytes(session.device_bytes)}`],
  );
  if (session.rollbacks > 0)
    figures.push(["went back", `${session.rollbacks} times`, "the run diverged"]);
  if (session.restarts > 0)
    figures.push(["taken up again", `${session.restarts} times`, "after the server had ended"]);
  return figures;
}

function inputFigures(session: Session, expected: number, framesPerSecond: number): Figure[] {
  const { frames, positions } = session;
  const waiting = Math.max(
    0,
    session.joined_points - session.active_points - session.held_out_points - session.empty_frames,
  );
  const figures: Figure[] = [
    [
      "frames",
      `${count(frames?.accepted ?? 0)}${expected > 0 ? ` of ${count(expected)}` : ""}, ${rate(framesPerSecond)} / s`,
    ],
    ["positions", count(positions?.accepted ?? 0)],
    ["joined", count(session.joined_points), "frames that have their position"],
    ["in use", count(session.active_points), "points in the iterations"],
    [
      "behind",
      `${count(waiting)} points, ${count(session.staged_frames)} staged`,
      "joined, and not yet in the iterations; accepted, and on their way to the device",
    ],
    [
      "complete up to",
      upTo(frames?.watermark, positions?.watermark),
      "every id up to here is accounted for, and acknowledged to those who sent it",
    ],
    ["on disk up to", onDisk(session), "every id up to here is on disk, and survives the server"],
    ["journal", journal(session)],
  ];
  if (session.frames_without_position)
    figures.push([
      "no position",
      count(session.frames_without_position),
      "frames that wait for theirs",
    ]);
  if (session.positions_without_frame)
    figures.push([
      "no frame",
      count(session.positions_without_frame),
      "positions that wait for theirs",
    ]);
  if (session.empty_frames)
    figures.push(["empty", count(session.empty_frames), "frames without a single count"]);
  if (frames?.skipped)
    figures.push(["lost", count(frames.skipped), "frames that the detector has lost"]);
  if (positions?.clamped)
    figures.push(["moved", count(positions.clamped), "positions moved into the canvas"]);
  for (const [what, counters] of [
    ["frame", frames],
    ["position", positions],
  ] as const) {
    for (const rejection of counters?.rejections ?? []) {
      figures.push([
        `${reasonWords(rejection.reason)}`,
        `${count(rejection.count)} ${what}s`,
        `first: ${what} ${rejection.first_frame_id}. ${rejection.detail}`,
      ]);
    }
  }
  return figures;
}

function upTo(frame: number | undefined, position: number | undefined): string {
  const words = (id: number | undefined) => (id !== undefined && id >= 0 ? count(id) : "–");
  return `frame ${words(frame)}, position ${words(position)}`;
}

function onDisk({ durability, frames, positions }: Session): string {
  return durability === "DURABILITY_MEMORY"
    ? "nothing, there is no journal"
    : upTo(frames?.durable_watermark, positions?.durable_watermark);
}

function journal(session: Session): string {
  if (session.durability === "DURABILITY_JOURNAL") {
    return session.checkpoint_version > 0
      ? `checkpoint of version ${session.checkpoint_version}`
      : "yes";
  }
  return session.durability === "DURABILITY_LOST" ? "NOT ALL OF IT" : "none";
}
