// Which tab sends an entry: the one that holds its Web Lock. It keeps the lock until its page ends, or a while after the
// decision: a browser shows what one tab writes to localStorage in another one later than it hands on a lock.
const NAME = "quizstream.1.";
const KEPT_AFTER_DECISION_MS = 10_000;

export class Claims {
  private readonly requested = new Set<string>();
  private readonly held = new Map<string, () => void>();

  /** `isWaiting(key)`: whether it is still in the queue. `gained()` is called with every lock that this page gets. */
  constructor(
    private readonly isWaiting: (key: string) => boolean,
    private readonly gained: () => void,
  ) {}

  /** Whether this page may send it; if not, it will be able to when the page that may has gone. */
  holds(key: string): boolean {
    if (!navigator.locks || this.held.has(key)) return true;
    if (!this.requested.has(key)) {
      this.requested.add(key);
      // An origin without locks rejects.
      navigator.locks.request(NAME + key, () => this.granted(key)).catch(() => this.granted(key));
    }
    return false;
  }

  release(key: string): void {
    setTimeout(() => {
      this.held.get(key)?.();
      this.held.delete(key);
    }, KEPT_AFTER_DECISION_MS);
  }

  private granted(key: string): Promise<void> | undefined {
    this.requested.delete(key);
    if (!this.isWaiting(key)) return undefined;
    return new Promise((resolve) => {
      this.held.set(key, resolve);
      this.gained();
    });
  }
}
