/** How the run converges: curves against iterations or seconds. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { type RealArray, decodeReal } from "../data/array_file";
import type { SessionMessage } from "../data/messages";
import { Latest } from "../data/transport";
import { choice, h } from "../dom";

const INTERVAL_MS = 1000;

/** Columns of the array of history; as Python's HISTORY_COLUMNS. */
const ITERATION = 0;
const ELAPSED_S = 7;

interface Chart {
  title: string;
  logarithmic: boolean;
  series: { label: string; column: number }[];
}

const CHARTS: Chart[] = [
  {
    title: "R-factor, Fourier error",
    logarithmic: false,
    series: [
      { label: "R", column: 2 },
      { label: "Fourier error", column: 3 },
    ],
  },
  {
    title: "Poisson NLL (1: noise)",
    logarithmic: true,
    series: [
      { label: "all points", column: 8 },
      { label: "held out", column: 9 },
    ],
  },
  {
    title: "change in an iteration",
    logarithmic: true,
    series: [
      { label: "object", column: 4 },
      { label: "probe", column: 5 },
    ],
  },
];

export class CurvesPanel {
  private readonly boxes = CHARTS.map(() => h("div", { class: "chart" }));
  private plots: uPlot[] = [];
  private history: RealArray | null = null;
  private against: "iterations" | "seconds" = "iterations";
  private readonly data: Latest<RealArray>;
  private readonly resized = new ResizeObserver(() => this.resize());
  readonly element: HTMLElement;

  constructor(id: string) {
    const axis = choice("against", ["iterations", "seconds"], this.against, (name) => {
      this.against = name as typeof this.against;
      this.build();
    });
    this.element = h(
      "section",
      { class: "panel curves" },
      h("h2", {}, "Convergence", axis.element),
      h("div", { class: "charts" }, ...this.boxes),
    );
    this.data = new Latest(
      `api/sessions/${id}/arrays/history`,
      INTERVAL_MS,
      decodeReal,
      (array) => {
        this.history = array;
        this.element.dataset.iterations = String(array.data[(array.rows - 1) * array.cols] ?? 0);
        if (this.plots.length === 0) this.build();
        else this.fill();
      },
    );
    this.resized.observe(this.element);
  }

  update(message: SessionMessage): void {
    const session = message.session;
    if (!session?.snapshot_version) return;
    this.data.want(`${message.epoch}-${session.snapshot_version}`);
  }

  /** Colours come from the style sheet. */
  restyle(): void {
    if (this.plots.length > 0) this.build();
  }

  close(): void {
    this.data.close();
    this.resized.disconnect();
    for (const plot of this.plots) plot.destroy();
  }

  private build(): void {
    for (const plot of this.plots) plot.destroy();
    this.plots = CHARTS.map((chart, k) => {
      const box = this.boxes[k]!;
      return new uPlot(options(chart, this.against, sizeOf(box)), this.columns(chart), box);
    });
  }

  private fill(): void {
    for (const [k, plot] of this.plots.entries()) plot.setData(this.columns(CHARTS[k]!));
  }

  private resize(): void {
    for (const [k, plot] of this.plots.entries()) plot.setSize(sizeOf(this.boxes[k]!));
  }

  private columns(chart: Chart): uPlot.AlignedData {
    const { history } = this;
    const x = this.against === "iterations" ? ITERATION : ELAPSED_S;
    return columns(history, [x, ...chart.series.map(({ column }) => column)], chart.logarithmic);
  }
}

/** Columns of a table; null where there is nothing to draw: NaN, or no logarithm. */
export function columns(
  table: RealArray | null,
  wanted: number[],
  logarithmic: boolean,
): uPlot.AlignedData {
  const least = logarithmic ? Number.MIN_VALUE : Number.NEGATIVE_INFINITY;
  return wanted.map((column, k) =>
    Array.from({ length: table?.rows ?? 0 }, (_, row) => {
      const value = table!.data[row * table!.cols + column]!;
      return k === 0 || (Number.isFinite(value) && value >= least) ? value : null;
    }),
  ) as unknown as uPlot.AlignedData;
}

/** Of what is left for the curves beside title and legend. */
function sizeOf(box: HTMLElement) {
  const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  return {
    width: Math.max(50, box.clientWidth),
    height: Math.max(60, box.clientHeight - 3.2 * rem),
  };
}

/** What of a logarithmic axis has a label: powers of ten, if there are two of them or more. */
export function labelled(splits: number[]): (number | null)[] {
  const enough = splits.filter(isPower).length >= 2;
  return splits.map((value) => (!enough || isPower(value) ? value : null));
}

/** "0.01", "1e-5". */
export function tick(value: number | null): string {
  if (value === null) return "";
  return Math.abs(value) >= 1e-3 || value === 0
    ? String(Number(value.toPrecision(6)))
    : value.toExponential(0);
}

function isPower(value: number): boolean {
  const power = Math.log10(value);
  return Math.abs(power - Math.round(power)) < 1e-9;
}

function options(
  chart: Chart,
  against: string,
  size: { width: number; height: number },
): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const rem = Number.parseFloat(style.fontSize);
  const font = `${0.8 * rem}px system-ui, sans-serif`;
  const { logarithmic } = chart;
  const axis = {
    stroke: colour("--quiet"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font,
  };
  const filter: uPlot.Axis.Filter = (_, splits) => (logarithmic ? labelled(splits) : splits);
  return {
    ...size,
    title: chart.title,
    scales: { x: { time: false }, y: logarithmic ? { distr: 3 } : {} },
    cursor: { drag: { x: true, y: false } },
    axes: [
      { ...axis, size: 1.7 * rem },
      {
        ...axis,
        size: 4 * rem,
        grid: { ...axis.grid, filter },
        filter,
        values: (_, splits) => splits.map(tick),
      },
    ],
    series: [
      { label: against },
      ...chart.series.map(({ label }, k) => ({
        label,
        stroke: colour(k === 0 ? "--curve-1" : "--curve-2"),
        width: 2,
        points: { show: false },
        dash: k === 0 ? undefined : [6, 4],
        value: (_: uPlot, value: number | null) => (value === null ? "–" : value.toPrecision(3)),
      })),
    ],
  };
}
