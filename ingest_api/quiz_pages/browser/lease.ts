// One tab sends at a time, by a lease in storage: for browsers without Web Locks (claims.ts). Two tabs may rarely hold it
// both; the key makes the second request harmless.
const NAME = "quizstream.lease";
const LOOK_AGAIN_MS = 40;

/** Returns false if another tab is sending; `work` has not run then. */
export async function exclusively(storage: Storage | null, leaseMs: number, work: () => Promise<void>): Promise<boolean> {
  const own = Math.random().toString(36).slice(2);
  const held = (): string => {
    const [owner = "", until = "0"] = (storage?.getItem(NAME) ?? "").split(" ");
    const leftMs = Number(until) - Date.now();
    return leftMs > 0 && leftMs <= leaseMs ? owner : "";
  };
  try {
    if (navigator.locks) storage = null;
    if (storage) {
      if (held()) return false;
      storage.setItem(NAME, `${own} ${Date.now() + leaseMs}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS * (1 + Math.random())));
      if (held() !== own) return false;
    }
  } catch {
    // No storage: no other tab has these entries.
    storage = null;
  }
  try {
    await work();
  } finally {
    try {
      if (storage && held() === own) storage.removeItem(NAME);
    } catch {
      // It ends by itself.
    }
  }
  return true;
}
