// One request, and what its answer means.
import type { Entry, Limits, Outcome, Problem } from "./entry";

// Browsers send at most 64 KiB for a page that has gone, all its requests together.
export const AFTERLIFE_BYTES_MAX = 60_000;
// Something before the edge (the log-in page of a hotel) may answer in its place, and not with a problem.
const STRANGE_ATTEMPTS_MAX = 3;
const PASSING = [408, 425, 429];

export type Answer =
  | { readonly kind: "decided"; readonly outcome: Outcome }
  | { readonly kind: "later"; readonly retryAfterMs: number; readonly ticket?: string | undefined };

export const bytesOf = (text: string): number => new Blob([text]).size;

/** In the query, since a header of its own would need a preflight. */
export function addressOf({ url, ticket }: Entry): string {
  if (!ticket) return url;
  const address = new URL(url);
  address.searchParams.set("ticket", ticket);
  return address.href;
}

/**
 * `text/plain` needs no preflight, and is what a beacon sends: the edge reads JSON in it, and the key as `completion_id`.
 * A redirect is an error: the edge sends none for a completion.
 */
export async function post(entry: Entry, limits: Limits): Promise<Answer> {
  const ended = new AbortController();
  const timer = setTimeout(() => ended.abort(), limits.requestTimeoutMs);
  try {
    const response = await fetch(addressOf(entry), {
      method: "POST",
      headers: { "content-type": "text/plain;charset=UTF-8" },
      body: entry.text,
      credentials: "omit",
      redirect: "error",
      cache: "no-store",
      keepalive: bytesOf(entry.text) < AFTERLIFE_BYTES_MAX,
      signal: ended.signal,
    });
    return meaning(response.status, await content(response), retryAfterMs(response.headers, limits), entry.attempts);
  } catch {
    return { kind: "later", retryAfterMs: 0 };
  } finally {
    clearTimeout(timer);
  }
}

function meaning(status: number, body: Problem | null, retryAfter: number, attempts: number): Answer {
  if (status === 202 && typeof body?.completion_id === "string") {
    const repeated = body.repeated === true;
    return { kind: "decided", outcome: { kind: "accepted", status, completionId: body.completion_id, repeated } };
  }
  const isFinal = status >= 400 && status < 500 && !PASSING.includes(status);
  if (isFinal && (body?.status === status || attempts + 1 >= STRANGE_ATTEMPTS_MAX)) {
    return { kind: "decided", outcome: { kind: "rejected", status, problem: body } };
  }
  const ticket = typeof body?.ticket === "string" ? body.ticket : undefined;
  return { kind: "later", retryAfterMs: retryAfter, ticket };
}

async function content(response: Response): Promise<Problem | null> {
  try {
    const body: unknown = await response.json();
    return body && typeof body === "object" ? (body as Problem) : null;
  } catch {
    return null;
  }
}

function retryAfterMs(headers: Headers, limits: Limits): number {
  const text = headers.get("retry-after") ?? "";
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return ms > 0 ? Math.min(ms, limits.retryAfterMaxMs) : 0;
}

/** Whether a request outlives its page; where not, a beacon does, and its answer is never read. */
export const outlives = (): boolean => typeof Request === "function" && "keepalive" in Request.prototype;
