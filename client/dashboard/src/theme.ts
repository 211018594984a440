/** Light or dark: as the machine has it, until the user has chosen. style.css has the colours. */

const KEY = "ptychoserve-theme";

/** Goes on following the machine. */
export function startTheme(onChange: () => void): void {
  const light = window.matchMedia("(prefers-color-scheme: light)");
  const apply = () => {
    const chosen = window.localStorage.getItem(KEY);
    document.documentElement.dataset.theme = chosen ?? (light.matches ? "light" : "dark");
    onChange();
  };
  light.addEventListener("change", apply);
  apply();
}

export function toggleTheme(): void {
  const { dataset } = document.documentElement;
  dataset.theme = dataset.theme === "dark" ? "light" : "dark";
  window.localStorage.setItem(KEY, dataset.theme);
}
