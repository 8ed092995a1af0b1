// Writes the client and the reports of progress, each as a script (.js) and an ES module (.mjs), into the given folder,
// otherwise to the files of pages.
import { build } from "esbuild";

const folder = process.argv[2] ?? "../files";
const forms = [
  { entryPoints: ["script.ts"], outfile: `${folder}/quizstream.js`, format: "iife" },
  { entryPoints: ["module.ts"], outfile: `${folder}/quizstream.mjs`, format: "esm" },
  { entryPoints: ["visit-script.ts"], outfile: `${folder}/quizstream-progress.js`, format: "iife" },
  { entryPoints: ["visit-module.ts"], outfile: `${folder}/quizstream-progress.mjs`, format: "esm" },
];
for (const form of forms) {
  await build({
    ...form,
    bundle: true,
    minify: true,
    target: "es2019",
    supported: { "import-meta": true }, // a browser with modules has it
    charset: "ascii",
    legalComments: "none",
  });
}
