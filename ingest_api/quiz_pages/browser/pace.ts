// When the next request may start: back-off with full jitter, Retry-After, and a circuit breaker.
import type { Limits } from "./entry";

export class Pace {
  private failures = 0;
  private openUntil = 0;
  private heldUntil = 0;

  constructor(
    private readonly limits: Limits,
    private readonly random: () => number,
  ) {}

  /** Any time from now to the longest wait: pages that failed together do not return together. */
  waitMs(attempts: number): number {
    return this.random() * Math.min(this.limits.waitMaxMs, this.limits.waitFirstMs * 2 ** Math.min(attempts, 30));
  }

  /** No request of this page may start before. A clock that was set back does not prolong it. */
  readyAt(now: number): number {
    return Math.max(within(this.openUntil, now, this.limits.breakerOpenMs), this.isHeldUntil(this.heldUntil, now));
  }

  isHeldUntil(time: number, now: number): number {
    return within(time, now, this.limits.retryAfterMaxMs + this.limits.waitMaxMs);
  }

  isBackedOffUntil(time: number, now: number): number {
    return within(time, now, this.limits.waitMaxMs);
  }

  succeeded(): void {
    this.failures = 0;
    this.openUntil = 0;
  }

  /** `isFailure`: not for a challenge, which only has to be answered. */
  failed(now: number, heldUntil: number, isFailure: boolean): void {
    if (isFailure) this.failures += 1;
    this.heldUntil = Math.max(this.isHeldUntil(this.heldUntil, now), heldUntil);
    if (this.failures >= this.limits.breakerFailures) {
      this.openUntil = now + this.limits.breakerOpenMs * (0.5 + this.random() / 2);
    }
  }

  /** The network is back: one request may find out whether the edge is too. */
  online(): void {
    this.openUntil = 0;
  }
}

const within = (time: number, now: number, longestMs: number): number => (time - now > longestMs ? 0 : time);
