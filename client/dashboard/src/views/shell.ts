/** What is around each view: the server, its devices, and what is wrong with the connection. */

import type { ServerMessage } from "../data/messages";
import { h, say } from "../dom";
import { startTheme, toggleTheme } from "../theme";
import { bytes } from "../units";

export class Shell {
  private readonly server = h("span", { class: "server" });
  private readonly devices = h("span", { class: "devices" });
  private readonly banner = h("div", { class: "banner", role: "alert", hidden: true });
  readonly element: HTMLElement;
  private gatewayAnswers = true;
  private serverError = "";

  constructor(onTheme: () => void) {
    startTheme(onTheme);
    const theme = h("button", { type: "button", title: "Light or dark" }, "light / dark");
    theme.onclick = () => {
      toggleTheme();
      onTheme();
    };
    this.element = h(
      "div",
      {},
      h(
        "header",
        {},
        h("a", { class: "brand", href: "#/" }, "ptychoserve"),
        this.server,
        this.devices,
        theme,
      ),
      this.banner,
    );
  }

  setConnection(gatewayAnswers: boolean): void {
    this.gatewayAnswers = gatewayAnswers;
    this.tell();
  }

  update(message: ServerMessage): void {
    this.serverError = message.connected ? "" : message.error;
    say(
      this.server,
      `${message.address}${message.info ? `, version ${message.info.version}` : ""}`,
    );
    const devices = message.info?.devices ?? [];
    say(
      this.devices,
      devices
        .map(
          (device) =>
            `${device.name}: ${bytes(device.reserved_bytes)} of ${bytes(device.usable_bytes)}, ${device.active_sessions} active`,
        )
        .join(" · "),
    );
    this.devices.title = devices.map((device) => device.description).join("\n");
    this.tell();
  }

  private tell(): void {
    const words = !this.gatewayAnswers
      ? "The dashboard does not answer. What you see is old; trying again …"
      : this.serverError
        ? `${this.serverError}. What you see is old; trying again …`
        : "";
    say(this.banner, words);
    this.banner.hidden = words === "";
  }
}
