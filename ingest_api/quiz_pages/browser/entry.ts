// What the queue keeps, what becomes of it, and the limits of both. Times are in ms of the wall clock.

/** One completion that waits. `text` is the body as it is sent: a repeat is the same, byte for byte. */
export interface Entry {
  readonly key: string;
  readonly url: string;
  readonly text: string;
  readonly since: number;
  readonly attempts: number;
  readonly notBefore: number; // back-off: an `online` event ends it
  readonly heldUntil: number; // Retry-After: nothing ends it early
  readonly ticket?: string | undefined; // of a challenge: it goes with the next attempt
  readonly outcome?: Outcome; // just before its removal, for the other tabs
}

/** A problem (RFC 9457) of the edge. */
export type Problem = Record<string, unknown>;

export type Reason = "full" | "old" | "unusable" | "key-reused" | "cleared";

export type Outcome =
  | { readonly kind: "accepted"; readonly status: 202; readonly completionId: string; readonly repeated: boolean }
  | { readonly kind: "rejected"; readonly status: number; readonly problem: Problem | null }
  | { readonly kind: "dropped"; readonly status: 0; readonly reason: Reason };

export type Told = { readonly key: string; readonly url: string } & (
  | Outcome
  | { readonly kind: "stored"; readonly persistent: boolean } // false: only while the page is open
  | { readonly kind: "waiting"; readonly attempts: number; readonly waitMs: number }
);

export interface Limits {
  readonly entriesMax: number;
  readonly charsMax: number; // of all entries
  readonly ageMaxMs: number;
  readonly requestTimeoutMs: number;
  readonly waitFirstMs: number;
  readonly waitMaxMs: number;
  readonly retryAfterMaxMs: number;
  readonly breakerFailures: number; // in a row
  readonly breakerOpenMs: number;
}

export const LIMITS: Limits = {
  entriesMax: 50,
  charsMax: 262_144,
  ageMaxMs: 7 * 24 * 3_600_000, // the edge stores a completion under its own day for as long
  requestTimeoutMs: 15_000,
  waitFirstMs: 1_000,
  waitMaxMs: 300_000,
  retryAfterMaxMs: 3_600_000,
  breakerFailures: 5,
  breakerOpenMs: 30_000,
};

export const dropped = (reason: Reason): Outcome => ({ kind: "dropped", status: 0, reason });
