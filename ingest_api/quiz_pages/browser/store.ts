// Entries in localStorage: written before `submit` returns, so that a page that closes at once loses none.
// Each has a name of its own: two tabs that add at the same time do not overwrite each other.
// Where the browser allows no storage or it is full, entries live as long as the page.
import type { Entry } from "./entry";

const PREFIX = "quizstream.1.";

export class Store {
  private readonly inMemory = new Map<string, Entry>();

  constructor(private readonly storage: Storage | null) {}

  /** The oldest first. What cannot be read is removed. */
  all(): Entry[] {
    const found = [...this.inMemory.values()];
    for (const name of this.names()) {
      const entry = this.read(name);
      if (entry && !entry.outcome) found.push(entry);
      else this.remove(name.slice(PREFIX.length));
    }
    return found.sort((one, other) => one.since - other.since);
  }

  find(key: string): Entry | null {
    return this.inMemory.get(key) ?? this.read(PREFIX + key);
  }

  /** Returns whether it outlives the page. */
  save(entry: Entry): boolean {
    try {
      if (this.storage) {
        this.storage.setItem(PREFIX + entry.key, JSON.stringify(entry));
        this.inMemory.delete(entry.key);
        return true;
      }
    } catch {
      // Full, or forbidden meanwhile.
    }
    this.inMemory.set(entry.key, entry);
    return false;
  }

  remove(key: string): void {
    this.inMemory.delete(key);
    try {
      this.storage?.removeItem(PREFIX + key);
    } catch {
      // It is read again, sent again with its key, and removed then.
    }
  }

  /** The key, and what another tab has written there; null for anything else. */
  static changed(event: StorageEvent): { key: string; entry: Entry | null } | null {
    if (!event.key?.startsWith(PREFIX)) return null;
    return { key: event.key.slice(PREFIX.length), entry: parsed(event.newValue) };
  }

  private names(): string[] {
    try {
      return Object.keys(this.storage ?? {}).filter((name) => name.startsWith(PREFIX));
    } catch {
      return [];
    }
  }

  private read(name: string): Entry | null {
    try {
      return parsed(this.storage?.getItem(name) ?? null);
    } catch {
      return null;
    }
  }
}

function parsed(text: string | null): Entry | null {
  try {
    const entry = JSON.parse(text ?? "null") as Entry | null;
    const usable = entry && typeof entry.key === "string" && typeof entry.url === "string" && typeof entry.text === "string";
    return usable && [entry.since, entry.attempts, entry.notBefore, entry.heldUntil].every(Number.isFinite) ? entry : null;
  } catch {
    return null;
  }
}

/** The browser's, or null where pages may not keep anything: reading the property may already throw. */
export function localStorageOrNull(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
