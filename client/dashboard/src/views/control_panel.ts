/** Finish, stop, delete: only what the gateway offers, and never with one click. */

import { type ServerMessage, type SessionMessage, isFinal } from "../data/messages";
import { request } from "../data/request";
import { h } from "../dom";

interface Action {
  name: "finish" | "stop" | "delete";
  title: string;
  question: (id: string) => string;
  allowed: (final: boolean) => boolean;
}

const ACTIONS: Action[] = [
  {
    name: "finish",
    title: "Declares the end of the data",
    question: (id) =>
      `Declare the end of the data of ${id}? What comes later is refused; the run is refined and completed.`,
    allowed: (final) => !final,
  },
  {
    name: "stop",
    title: "Ends the run",
    question: (id) =>
      `Stop ${id}? It ends after the iteration under way, and keeps its result. It cannot be started again.`,
    allowed: (final) => !final,
  },
  {
    name: "delete",
    title: "Forgets session and result",
    question: (id) => `Delete ${id}? Its result is gone for good.`,
    allowed: (final) => final,
  },
];

export class ControlPanel {
  private readonly buttons = ACTIONS.map((action) =>
    h(
      "button",
      { type: "button", title: action.title, onclick: () => this.ask(action) },
      action.name,
    ),
  );
  readonly element = h("div", { class: "control" });

  constructor(private readonly id: string) {}

  /** Which of them there are. */
  offer({ actions }: ServerMessage): void {
    const offered = this.buttons.filter((_, k) => actions.includes(ACTIONS[k]!.name));
    if (offered.length !== this.element.childElementCount) this.element.replaceChildren(...offered);
  }

  update(message: SessionMessage): void {
    for (const [k, action] of ACTIONS.entries()) {
      const { session } = message;
      this.buttons[k]!.disabled = session === null || !action.allowed(isFinal(session.state));
    }
  }

  private ask(action: Action): void {
    const refusal = h("p", { class: "refusal", role: "alert" });
    const go = h("button", { type: "button", class: "danger" }, action.name);
    const cancel = h("button", { type: "button", autofocus: true }, "cancel");
    const dialog = h(
      "dialog",
      { class: "confirm" },
      h("p", {}, action.question(this.id)),
      refusal,
      h("div", { class: "toolbar" }, cancel, go),
    );
    cancel.onclick = () => dialog.close();
    dialog.onclose = () => dialog.remove();
    go.onclick = async () => {
      go.disabled = true;
      try {
        await request(`api/sessions/${this.id}/${action.name}`, { method: "POST" });
        dialog.close();
        if (action.name === "delete") window.location.hash = "#/";
      } catch (error) {
        refusal.textContent = error instanceof Error ? error.message : String(error);
        go.disabled = false;
      }
    };
    document.body.append(dialog);
    dialog.showModal();
  }
}
