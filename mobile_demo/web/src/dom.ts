// Elements without HTML in strings: what a model file says is only ever text.

type Child = Node | string;

/** Before a name within a group, once for every level. */
export const INDENT = "\u2003";

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string | boolean | ((event: Event) => void)> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Buttons of which one is on, as a radio group: arrow keys move, one tab stop. */
export class Choices {
  readonly element: HTMLElement;
  private buttons: HTMLButtonElement[] = [];
  private chosen = "";

  constructor(
    label: string,
    private readonly onChoose: (value: string) => void,
  ) {
    this.element = el("div", { class: "choices", role: "radiogroup", "aria-label": label });
    this.element.addEventListener("keydown", (event) => this.onKey(event));
  }

  set(options: { value: string; label: string; disabled?: boolean }[], chosen: string): void {
    this.buttons = options.map(({ value, label, disabled = false }) =>
      el(
        "button",
        { type: "button", role: "radio", "data-value": value, disabled, click: () => this.choose(value) },
        label,
      ),
    );
    this.element.replaceChildren(...this.buttons);
    // Digits and letters stand in rows of one length.
    const isShort = options.every(({ label }) => label.length <= 3);
    this.element.classList.toggle("short", isShort);
    // Classes in groups stand below each other.
    this.element.classList.toggle("groups", options.some(({ label }) => label.startsWith(INDENT)));
    const columns = Math.ceil(options.length / Math.ceil(options.length / 6));
    this.element.style.setProperty("--columns", String(columns || 1));
    this.mark(chosen);
  }

  get value(): string {
    return this.chosen;
  }

  mark(value: string): void {
    this.chosen = value;
    const known = this.buttons.some((button) => button.dataset.value === value);
    this.buttons.forEach((button, i) => {
      const on = button.dataset.value === value;
      button.setAttribute("aria-checked", String(on));
      button.tabIndex = on || (!known && i === 0) ? 0 : -1;
    });
  }

  private choose(value: string): void {
    this.mark(value);
    this.onChoose(value);
  }

  private onKey(event: KeyboardEvent): void {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const usable = this.buttons.filter((button) => !button.disabled);
    if (!step || usable.length === 0) return;
    event.preventDefault();
    const at = usable.findIndex((button) => button.dataset.value === this.chosen);
    const next = usable[(at + step + usable.length) % usable.length]!;
    next.focus();
    this.choose(next.dataset.value!);
  }
}

/** Run the newest request only: those that came while one ran are dropped, but for the last. */
export function newest<T>(run: (value: T) => Promise<void>, fail: (err: unknown) => void): (value: T) => void {
  let pending: { value: T } | null = null;
  let busy = false;
  return (value) => {
    pending = { value };
    if (busy) return;
    busy = true;
    void (async () => {
      try {
        while (pending) {
          const request: { value: T } = pending;
          pending = null;
          await run(request.value);
        }
      } catch (err) {
        fail(err);
      } finally {
        busy = false;
      }
    })();
  };
}

export function prefersStill(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
