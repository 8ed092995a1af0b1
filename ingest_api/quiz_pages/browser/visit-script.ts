// The script tag: makes `window.quizstreamVisit`, for the edge from which the script was loaded.
import { Visit } from "./visit";

declare global {
  interface Window {
    quizstreamVisit?: (quizId: string, everyMs?: number) => Visit;
  }
}

try {
  const script = document.currentScript as HTMLScriptElement | null;
  const base = script?.src ? new URL(script.src).origin : location.origin;
  window.quizstreamVisit ??= (quizId, everyMs) => new Visit(base, quizId, everyMs);
} catch {
  // A page must work without it.
}
