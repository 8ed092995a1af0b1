// One visit of a quiz: how far the person has come, and how it ended. It has no answer and nothing about the person, and
// nothing of it is kept in the browser: a page that is loaded again is another visit.
import { newKey } from "./key";
import { outlives } from "./request";

const EVERY_MS = 5_000;
const RETRY_MS = 20_000;
const ATTEMPTS_MAX = 3;

type Kind = "started" | "progressed" | "abandoned" | "completed";

export class Visit {
  readonly id = newKey(Date.now());
  private readonly url: string;
  private furthest: string | undefined;
  private last: Kind | undefined;
  private lastAt = 0;
  private newest = "";
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isSubmitting = false;

  /** `base`: the address of the edge; `everyMs`: at most one report of progress in that time. */
  constructor(
    base: string,
    quizId: string,
    private readonly everyMs: number = EVERY_MS,
  ) {
    this.url = `${base}/quiz/${encodeURIComponent(quizId)}/progress`;
    addEventListener("pagehide", ({ persisted }) => this.hide(!persisted));
    document.addEventListener("visibilitychange", () => document.hidden && this.hide(false));
  }

  /** Call it with each input; `questionId`: the furthest question with an input, none before the first one. */
  reached(questionId?: string): void {
    const isNew = questionId !== this.furthest;
    this.furthest = questionId;
    if (!this.last) this.send("started");
    else if (this.last !== "completed" && (isNew || this.last === "abandoned")) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.send("progressed"), Math.max(0, this.lastAt + this.everyMs - Date.now()));
    }
  }

  /** The person is done: `outcome` is what the edge answers to the completion. */
  submitted(outcome: PromiseLike<{ readonly status: number } | null>): void {
    this.isSubmitting = true;
    const decided = (status?: number): void => {
      this.isSubmitting = false;
      if (status === 202) this.send("completed");
    };
    outcome.then((answer) => decided(answer?.status), () => decided());
  }

  /**
   * `ends`: the page does not come back. Then a completion on its way counts as one, since the queue keeps it; else the page
   * reports what the edge answers, which may be a rejection.
   */
  private hide(ends: boolean): void {
    if (this.isSubmitting) this.send(ends ? "completed" : "progressed");
    else if (this.last && this.last !== "abandoned") this.send("abandoned");
  }

  private send(kind: Kind): void {
    if (this.last === "completed") return;
    clearTimeout(this.timer);
    this.last = kind;
    this.lastAt = Date.now();
    this.newest = JSON.stringify({ visit_id: this.id, kind, question_id: this.furthest, at: new Date() });
    void this.post(this.newest, 1);
  }

  /** Only the newest report is sent again: it says how far the visit is, whatever was lost before. */
  private async post(text: string, attempt: number): Promise<void> {
    if (text !== this.newest) return;
    if (!outlives()) {
      navigator.sendBeacon?.(this.url, text);
      return;
    }
    let mayPass = true;
    try {
      const { status } = await fetch(this.url, { method: "POST", body: text, credentials: "omit", keepalive: true });
      mayPass = status === 429 || status >= 500;
    } catch {
      // No network.
    }
    if (mayPass && attempt < ATTEMPTS_MAX) {
      setTimeout(() => void this.post(text, attempt + 1), attempt * RETRY_MS * (0.5 + Math.random()));
    }
  }
}
