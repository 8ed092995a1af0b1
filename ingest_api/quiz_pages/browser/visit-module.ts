// The ES module: `visit(quizId)` reports to the edge from which the module was loaded.
import { Visit } from "./visit";

export type { Visit } from "./visit";

export const visit = (quizId: string, everyMs?: number): Visit => new Visit(new URL(import.meta.url).origin, quizId, everyMs);
