// The script tag: makes `window.quizstream`, for the edge from which the script was loaded.
import { Client, type Options } from "./client";

declare global {
  interface Window {
    quizstream?: object;
  }
}

try {
  const script = document.currentScript as HTMLScriptElement | null;
  const base = script?.src ? new URL(script.src).origin : location.origin;
  // A page may have put a sender of its own there.
  window.quizstream ??= Object.assign(new Client({ base }), {
    create: (options: Options) => new Client({ base, ...options }),
  });
} catch {
  // A page must work without it.
}
