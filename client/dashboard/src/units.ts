/** Numbers with units, for people. */

const PREFIXES: [number, string][] = [
  [1, ""],
  [1e-3, "m"],
  [1e-6, "µ"],
  [1e-9, "n"],
  [1e-12, "p"],
];

/** The prefix with which a size is at least 1, as [factor, "µm"]. */
export function metrePrefix(size_m: number): [number, string] {
  const found = PREFIXES.find(([factor]) => Math.abs(size_m) >= 0.9999 * factor);
  const [factor, prefix] = found ?? [1e-12, "p"];
  return [factor, `${prefix}m`];
}

export function metres(size_m: number, digits = 3): string {
  if (size_m === 0) return "0 m";
  const [factor, unit] = metrePrefix(size_m);
  return `${Number((size_m / factor).toPrecision(digits))} ${unit}`;
}

export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = count;
  let k = 0;
  while (value >= 1000 && k < units.length - 1) {
    value /= 1000;
    k += 1;
  }
  return `${k === 0 ? value : value.toPrecision(3)} ${units[k]}`;
}

export function count(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, " ");
}

/** Counts of a pixel; those that are means with as many digits as mean something. */
export function counts(value: number): string {
  if (Number.isInteger(value)) return count(value);
  return value >= 100 ? count(value) : String(Number(value.toPrecision(3)));
}

/** "950", "12k", "1.5M". */
export function short(value: number): string {
  if (value < 1e4) return String(Number(value.toPrecision(3)));
  const [factor, unit] = value < 1e6 ? [1e3, "k"] : [1e6, "M"];
  return `${Number((value / Number(factor)).toPrecision(3))}${unit}`;
}

/** Per second, three digits. */
export function rate(value: number): string {
  return value === 0 ? "0" : Number(value.toPrecision(3)).toString();
}

export function duration(seconds: number): string {
  if (seconds < 0) return "0 s";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${seconds.toFixed(0)} s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(0)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(0)} d`;
}

export function number(value: number | null | undefined, digits = 4): string {
  return value === null || value === undefined || !Number.isFinite(value)
    ? "–"
    : value.toFixed(digits);
}
