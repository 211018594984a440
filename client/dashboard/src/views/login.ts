/** Asks for the token of a dashboard that others can reach. */

import { request } from "../data/request";
import { h, say } from "../dom";

/** Resolves when the gateway has taken a token. */
export function login(): Promise<void> {
  return new Promise((resolve) => {
    const token = h("input", {
      type: "password",
      autocomplete: "off",
      required: true,
      "aria-label": "token",
    });
    const refusal = h("p", { class: "refusal", role: "alert" });
    const form = h(
      "form",
      { class: "login" },
      h("h1", {}, "ptychoserve"),
      h("p", {}, "This dashboard asks for its token, the first line of its token file."),
      token,
      h("button", { type: "submit" }, "open"),
      refusal,
    );
    form.onsubmit = async (event) => {
      event.preventDefault();
      try {
        await request("api/login", {
          method: "POST",
          body: JSON.stringify({ token: token.value }),
        });
        form.remove();
        resolve();
      } catch (error) {
        say(refusal, error instanceof Error ? error.message : String(error));
        token.value = "";
      }
    };
    document.body.append(form);
    token.focus();
  });
}
