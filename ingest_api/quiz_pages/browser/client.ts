// The queue of completions: kept until the edge has accepted or rejected each, sent one at a time.
import { Claims } from "./claims";
import { dropped, LIMITS, type Entry, type Limits, type Outcome, type Told } from "./entry";
import { newKey } from "./key";
import { exclusively } from "./lease";
import { Pace } from "./pace";
import { addressOf, AFTERLIFE_BYTES_MAX, bytesOf, outlives, post } from "./request";
import { localStorageOrNull, Store } from "./store";

const EVENT = "quizstream";
const ONLINE_SPREAD_MS = 1_000; // a network that returns has it for many pages at once
const TIMER_MAX_MS = 2_000_000_000; // browsers wait for less than 2^31 ms

export interface Options extends Partial<Limits> {
  readonly base?: string; // the address of the edge
  readonly random?: () => number;
}

/** What a page gets of an entry that waits: nothing that the person has written. */
export interface Pending {
  readonly key: string;
  readonly url: string;
  readonly since: number;
  readonly attempts: number;
}

export class Client {
  private readonly base: string;
  private readonly limits: Limits;
  private readonly random: () => number;
  private readonly pace: Pace;
  private readonly storage = localStorageOrNull();
  private readonly store = new Store(this.storage);
  private readonly claims = new Claims(
    (key) => this.store.find(key) !== null,
    () => this.wake(),
  );
  private readonly flying = new Map<string, number>(); // bytes by key
  private readonly beaconed = new Set<string>(); // since their last attempt: a page hides more than once
  private readonly own = new Map<string, { promise: Promise<Outcome>; decide: (outcome: Outcome) => void }>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isSending = false;

  constructor({ base, random, ...limits }: Options = {}) {
    this.base = (base ?? location.origin).replace(/\/+$/, "");
    this.limits = { ...LIMITS, ...limits };
    this.random = random ?? Math.random;
    this.pace = new Pace(this.limits, this.random);
    addEventListener("online", () => this.later(this.random() * ONLINE_SPREAD_MS, () => this.online()));
    addEventListener("pageshow", () => this.wake());
    addEventListener("pagehide", () => this.hide());
    document.addEventListener("visibilitychange", () => (document.hidden ? this.hide() : this.wake()));
    addEventListener("storage", (event) => this.changed(event));
    this.wake();
  }

  /** `body`: as in `POST /quiz/{quiz_id}/completions`. Never rejects and never throws. */
  submit(quizId: string, body: unknown, key?: string): Promise<Outcome> {
    return this.send(`${this.base}/quiz/${encodeURIComponent(quizId)}/completions`, body, key);
  }

  /** The promise waits as long as the page is open; the entry is kept before this returns. */
  send(url: string, body: unknown, key?: string): Promise<Outcome> {
    try {
      return this.add(url, body, key);
    } catch {
      return this.report({ key: key ?? "", url }, dropped("unusable"));
    }
  }

  key(): string {
    return newKey(Date.now());
  }

  pending(): Pending[] {
    return this.store.all().map(({ key, url, since, attempts }) => ({ key, url, since, attempts }));
  }

  /** Forgets everything that waits, in every tab: for a shared device, or at a person's wish. */
  clear(): void {
    for (const entry of this.store.all()) this.decide(entry, dropped("cleared"));
  }

  /** Returns a function that ends it. The same goes out as the event `quizstream` of the window. */
  on(listener: (told: Told) => void): () => void {
    const heard = (event: Event): void => listener((event as CustomEvent<Told>).detail);
    addEventListener(EVENT, heard);
    return () => removeEventListener(EVENT, heard);
  }

  private add(url: string, body: unknown, given?: string): Promise<Outcome> {
    const now = Date.now();
    const content = body as { completion_id?: unknown };
    const key = String(given ?? content.completion_id ?? newKey(now));
    const text = JSON.stringify({ ...content, completion_id: key });
    const absolute = new URL(url, this.base).href;
    const known = this.store.find(key);
    if (known && !known.outcome) {
      if (known.text !== text || known.url !== absolute) return this.report({ key, url }, dropped("key-reused"));
      const promise = this.promised(key);
      this.wake();
      return promise;
    }
    const kept = this.store.all();
    const chars = kept.reduce((sum, entry) => sum + entry.text.length, text.length);
    if (kept.length >= this.limits.entriesMax || chars > this.limits.charsMax) {
      return this.report({ key, url }, dropped("full"));
    }
    const entry: Entry = { key, url: absolute, text, since: now, attempts: 0, notBefore: 0, heldUntil: 0 };
    const promise = this.promised(key);
    this.claims.holds(key); // before another tab can see the entry: this page is the one that reports its attempts
    const persistent = this.store.save(entry);
    this.tell({ key, url: absolute, kind: "stored", persistent });
    this.wake();
    return promise;
  }

  private promised(key: string): Promise<Outcome> {
    const known = this.own.get(key);
    if (known) return known.promise;
    let decide: (outcome: Outcome) => void = () => undefined;
    const promise = new Promise<Outcome>((resolve) => (decide = resolve));
    this.own.set(key, { promise, decide });
    return promise;
  }

  private report(what: { key: string; url: string }, outcome: Outcome): Promise<Outcome> {
    this.tell({ key: what.key, url: what.url, ...outcome });
    return Promise.resolve(outcome);
  }

  private tell(told: Told): void {
    // A listener that throws is the page's: the browser reports it and the queue continues.
    window.dispatchEvent(new CustomEvent(EVENT, { detail: told }));
  }

  /** The outcome is written first: other tabs read it in the event of the storage. */
  private decide(entry: Entry, outcome: Outcome): void {
    if (this.store.find(entry.key)) {
      this.store.save({ ...entry, text: "", outcome });
      this.store.remove(entry.key);
    }
    this.decided(entry, outcome);
  }

  private decided({ key, url }: Entry, outcome: Outcome): void {
    const waiting = this.own.get(key);
    this.own.delete(key);
    this.claims.release(key);
    this.tell({ key, url, ...outcome });
    waiting?.decide(outcome);
  }

  private changed(event: StorageEvent): void {
    const change = Store.changed(event);
    if (change?.entry?.outcome) {
      this.store.remove(change.key); // an attempt of this page may have written it again meanwhile
      this.decided(change.entry, change.entry.outcome);
    } else if (change) {
      const { entry } = change;
      // Another tab sends what this page has submitted: this page still says how it stands.
      if (entry?.attempts && this.own.has(entry.key)) this.tellWaiting(entry, Date.now());
      this.wake();
    }
  }

  private tellWaiting(entry: Entry, now: number): void {
    const waitMs = Math.max(0, this.readyAt(entry, now) - now);
    this.tell({ key: entry.key, url: entry.url, kind: "waiting", attempts: entry.attempts, waitMs });
  }

  private readyAt(entry: Entry, now: number): number {
    const { pace } = this;
    return Math.max(
      pace.readyAt(now),
      pace.isHeldUntil(entry.heldUntil, now),
      pace.isBackedOffUntil(entry.notBefore, now),
    );
  }

  private next(now: number): { entry: Entry; at: number } | null {
    let first: { entry: Entry; at: number } | null = null;
    for (const entry of this.store.all()) {
      const isOther = !this.claims.holds(entry.key) || this.flying.has(entry.key);
      const at = isOther ? Infinity : this.readyAt(entry, now);
      if (at < (first?.at ?? Infinity)) first = { entry, at };
    }
    return first;
  }

  private wake(): void {
    if (this.isSending) return;
    const now = Date.now();
    const next = this.next(now);
    clearTimeout(this.timer);
    if (next) this.timer = setTimeout(() => void this.sendDue(), Math.min(Math.max(0, next.at - now), TIMER_MAX_MS));
  }

  private later(ms: number, work: () => void): void {
    setTimeout(work, ms);
  }

  private async sendDue(): Promise<void> {
    if (this.isSending) return;
    this.isSending = true;
    let isOurs = true;
    let sent = true;
    try {
      while (isOurs && sent) {
        sent = false;
        isOurs = await exclusively(this.storage, 2 * this.limits.requestTimeoutMs, async () => {
          const now = Date.now();
          const next = this.next(now); // as it is now: another tab may have sent it
          if (!next || next.at > now) return;
          sent = true;
          await this.attempt(next.entry);
        });
      }
    } catch {
      isOurs = false;
    }
    this.isSending = false;
    if (isOurs) this.wake();
    else this.later(this.limits.waitFirstMs, () => this.wake());
  }

  private async attempt(entry: Entry): Promise<void> {
    this.flying.set(entry.key, bytesOf(entry.text));
    this.beaconed.delete(entry.key);
    const answer = await post(entry, this.limits);
    this.flying.delete(entry.key);
    const now = Date.now();
    if (answer.kind === "decided") {
      this.pace.succeeded();
      this.decide(entry, answer.outcome);
      return;
    }
    const { ticket } = answer;
    // A challenge is no failure: its ticket is valid for a short time only, so that there is no back-off.
    const attempts = entry.attempts + (ticket ? 0 : 1);
    const since = Math.min(entry.since, now);
    const backOff = now + (ticket ? 0 : this.pace.waitMs(entry.attempts));
    const heldUntil = answer.retryAfterMs ? backOff + answer.retryAfterMs : 0;
    this.pace.failed(now, heldUntil, !ticket);
    if (!this.store.find(entry.key)) return; // decided by another tab, or cleared
    if (now - since > this.limits.ageMaxMs) {
      this.decide(entry, dropped("old"));
      return;
    }
    const waiting: Entry = { ...entry, since, attempts, notBefore: backOff, heldUntil, ticket };
    this.store.save(waiting);
    this.tellWaiting(waiting, now);
  }

  private online(): void {
    this.pace.online();
    for (const entry of this.store.all()) if (entry.notBefore) this.store.save({ ...entry, notBefore: 0 });
    this.wake();
  }

  /** The page may never run again: what this page has submitted is sent at once, back-off or not. */
  private hide(): void {
    const now = Date.now();
    let bytesLeft = AFTERLIFE_BYTES_MAX;
    for (const bytes of this.flying.values()) bytesLeft -= bytes;
    for (const entry of this.store.all()) {
      const bytes = bytesOf(entry.text);
      const isHeld = Math.max(this.pace.readyAt(now), this.pace.isHeldUntil(entry.heldUntil, now)) > now;
      if (!this.own.has(entry.key) || this.flying.has(entry.key) || isHeld || bytes > bytesLeft) continue;
      bytesLeft -= bytes;
      if (outlives()) void this.attempt(entry).then(() => this.wake());
      else if (!this.beaconed.has(entry.key) && navigator.sendBeacon?.(addressOf(entry), entry.text)) this.beaconed.add(entry.key);
    }
  }
}
