/** All sessions of the server. */

import { type SessionsMessage, type Summary, isFinal, stateWord } from "../data/messages";
import { h, say } from "../dom";
import { bytes, count, duration, number, rate } from "../units";

const COLUMNS: [title: string, value: (session: Summary, now_s: number) => string][] = [
  [
    "frames",
    (s) =>
      `${count(s.accepted_frames)}${s.expected_points > 0 ? ` / ${count(s.expected_points)}` : ""}`,
  ],
  ["frames / s", (s) => (isFinal(s.state) ? "–" : rate(s.frames_per_second))],
  ["iteration", (s) => count(s.iteration)],
  ["it / s", (s) => (isFinal(s.state) ? "–" : rate(s.iterations_per_second))],
  ["R", (s) => number(s.r_factor)],
  ["device", (s) => s.device],
  ["memory", (s) => bytes(s.device_bytes)],
  ["age", (s, now_s) => duration(now_s - Date.parse(s.create_time) / 1000)],
];

interface Row {
  element: HTMLTableRowElement;
  state: HTMLElement;
  progress: HTMLProgressElement;
  cells: HTMLElement[];
}

export class SessionList {
  private readonly body = h("tbody");
  private readonly none = h(
    "p",
    { class: "empty" },
    "There is no session. One that is created appears here by itself.",
  );
  readonly element = h(
    "main",
    { class: "list" },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", {}, "session"),
          h("th", {}, "state"),
          h("th", {}, "progress"),
          ...COLUMNS.map(([title]) => h("th", { class: "figure" }, title)),
        ),
      ),
      this.body,
    ),
    this.none,
  );
  private readonly rows = new Map<string, Row>();

  update({ sessions }: SessionsMessage, now_s: number): void {
    const newest = [...sessions].sort((a, b) => b.create_time.localeCompare(a.create_time));
    for (const id of [...this.rows.keys()].filter((id) => !sessions.some((s) => s.id === id))) {
      this.rows.get(id)!.element.remove();
      this.rows.delete(id);
    }
    for (const [k, session] of newest.entries()) {
      const row = this.rows.get(session.id) ?? this.add(session.id);
      if (this.body.children[k] !== row.element)
        this.body.insertBefore(row.element, this.body.children[k] ?? null);
      say(
        row.state,
        stateWord(session.state) + (session.warnings > 0 ? ` ⚠ ${session.warnings}` : ""),
      );
      row.state.dataset.state = stateWord(session.state);
      row.state.title = session.failure;
      row.progress.value =
        session.expected_points > 0
          ? Math.min(1, session.accepted_frames / session.expected_points)
          : 0;
      for (const [n, [, value]] of COLUMNS.entries()) say(row.cells[n]!, value(session, now_s));
    }
    this.none.hidden = sessions.length > 0;
  }

  private add(id: string): Row {
    const state = h("span", { class: "state" });
    const progress = h("progress", { max: 1, value: 0 });
    const cells = COLUMNS.map(() => h("td", { class: "figure" }));
    const element = h(
      "tr",
      {},
      h("td", {}, h("a", { href: `#/sessions/${id}` }, id)),
      h("td", {}, state),
      h("td", {}, progress),
      ...cells,
    );
    const row = { element, state, progress, cells };
    this.rows.set(id, row);
    return row;
  }
}
