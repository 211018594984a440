/** Which key does what. */

import { h } from "../dom";

const KEYS: [keys: string, what: string][] = [
  ["arrows", "move the picture that has the focus"],
  ["+, −, wheel", "enlarge, and back"],
  ["0, double click", "all of it"],
  ["Shift and drag", "measure a region of the object; Esc drops it"],
  ["click on a position", "the frame that was taken there"],
  ["w", "the frame with the largest R-factor; again: the one with the next"],
  ["n", "the newest frame, and those that follow"],
  ["d", "measured, expected and residual beside one another, or one of them"],
  ["?", "these keys"],
];

export function keysDialog(): void {
  const close = h("button", { type: "button", autofocus: true }, "close");
  const dialog = h(
    "dialog",
    { class: "keys" },
    h("h2", {}, "Keys"),
    h("dl", {}, ...KEYS.flatMap(([keys, what]) => [h("dt", {}, keys), h("dd", {}, what)])),
    h("div", { class: "toolbar" }, close),
  );
  close.onclick = () => dialog.close();
  dialog.onclose = () => dialog.remove();
  document.body.append(dialog);
  dialog.showModal();
}
