// The ES module: `create()` makes a client for the edge from which the module was loaded.
import { Client, type Options } from "./client";

export type { Client, Options, Pending } from "./client";
export type { Limits, Outcome, Told } from "./entry";

export const create = (options: Options = {}): Client => new Client({ base: new URL(import.meta.url).origin, ...options });
