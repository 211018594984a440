/** Elements, in one expression. */

type Child = Node | string | null;

/** `h("button", { type: "button", onclick: f }, "Stop")`; `class` and `aria-..` are attributes. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Record<string, unknown> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) Object.assign(element, { [name]: value });
    else if (value !== null && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Sets text only when it changes, so that what is selected stays selected. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A choice among names, with a label. */
export function choice(
  label: string,
  names: readonly string[],
  value: string,
  onChange: (name: string) => void,
): { element: HTMLElement; select: HTMLSelectElement } {
  const select = h("select", {}, ...names.map((name) => h("option", { value: name }, name)));
  select.value = value;
  select.onchange = () => onChange(select.value);
  return { element: h("label", { class: "field" }, h("span", {}, label), select), select };
}

export function toggle(
  label: string,
  checked: boolean,
  title: string,
  onChange: (on: boolean) => void,
) {
  const input = h("input", { type: "checkbox", checked });
  input.onchange = () => onChange(input.checked);
  return h("label", { class: "toggle", title }, input, label);
}

/** Hands a file to whoever sits there. */
export function saveFile(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  window.setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
