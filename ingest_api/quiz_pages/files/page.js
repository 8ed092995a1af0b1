// Sends the form of a quiz as one completion, with an idempotency key, and shows the progress.
// Without this script the form is posted as it is. `window.quizstream` (browser/script.ts), or what another script has put
// there, sends instead: `send(url, body, key)` returns a promise of {status, problem}, and keeps the completion if it must.
// `window.quizstreamVisit` (browser/visit.ts) reports how far the visit has come.
(() => {
  "use strict";

  const form = document.getElementById("quiz");
  if (!form) return;

  const ATTEMPTS_MAX = 6;
  const WAIT_FIRST_MS = 1000;
  const WAIT_MAX_MS = 30000;
  const REQUEST_TIMEOUT_MS = 15000;

  const status = document.getElementById("status");
  const button = form.querySelector("button");
  const questions = [...form.querySelectorAll("[data-question]")];
  const visit = window.quizstreamVisit?.(form.dataset.quiz);
  let furthest = -1; // of the questions, the last one with an input
  let sending = false;
  let persistent = true;

  const given = (question) => {
    const fields = [...question.querySelectorAll("input, textarea")];
    if (question.dataset.kind === "choice" || question.dataset.kind === "scale") {
      const chosen = fields.filter((field) => field.checked).map((field) => field.value);
      if (!chosen.length) return null;
      if (question.dataset.kind === "scale") return Number(chosen[0]);
      return fields[0].type === "checkbox" ? chosen : chosen[0];
    }
    const text = fields[0].value.trim();
    if (!text) return null;
    return question.dataset.kind === "number" ? Number(text) : text;
  };

  const showProgress = () => {
    const panel = document.getElementById("progress");
    if (!panel) return;
    const done = questions.filter((question) => given(question) !== null).length;
    const count = document.getElementById("count");
    document.getElementById("bar").value = done;
    count.textContent = count.dataset.text.replace("{done}", done).replace("{all}", questions.length);
    panel.hidden = false;
  };

  const contact = () => {
    const found = {};
    for (const name of ["name", "phone", "email"]) {
      const value = form.elements[name]?.value.trim();
      if (value) found[name] = value;
    }
    if (!Object.keys(found).length) return null;
    found.consent = { granted: form.elements.consent.checked, text: form.elements.consent_text.value };
    return found;
  };

  const completion = () => {
    const answers = {};
    for (const question of questions) {
      const answer = given(question);
      if (answer !== null) answers[question.dataset.question] = answer;
    }
    const body = { answers };
    const person = contact();
    if (person) body.contact = person;
    return body;
  };

  const newKey = () => {
    if (window.quizstream?.key) return window.quizstream.key();
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  };

  // The same content keeps its key over a reload, so that it is one completion however often it is sent.
  const keyOf = (text) => {
    const name = `quizstream:${form.dataset.quiz}`;
    try {
      const known = JSON.parse(sessionStorage.getItem(name) || "null");
      if (known && known.text === text) return known.key;
      const key = newKey();
      sessionStorage.setItem(name, JSON.stringify({ text, key }));
      return key;
    } catch {
      return newKey();
    }
  };

  const post = async (url, body, key) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": key },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const problem = response.ok ? null : await response.json().catch(() => null);
    return { status: response.status, problem, retryAfterS: Number(response.headers.get("retry-after")) || 0 };
  };

  const mayPass = (answer) => answer === null || answer.status === 429 || answer.status >= 500 || answer.status === 408;

  const waitMs = (attempt, retryAfterS, ticket) => {
    if (ticket) return (retryAfterS + Math.random()) * 1000; // it is valid for a short time only
    const longest = Math.min(WAIT_MAX_MS, WAIT_FIRST_MS * 2 ** attempt);
    return Math.max(retryAfterS * 1000, WAIT_FIRST_MS / 2 + Math.random() * longest);
  };

  const show = (text, bad = false) => {
    status.textContent = text;
    status.classList.toggle("bad", bad);
  };

  const sendUntilDecided = async (body, key) => {
    const queue = window.quizstream;
    const send = queue?.send ? (...given) => queue.send(...given) : post;
    const stopListening = queue?.on?.((told) => {
      if (told.key === key && told.kind === "stored") persistent = told.persistent;
      if (told.key !== key || told.kind !== "waiting") return;
      const seconds = Math.ceil(told.waitMs / 1000);
      show(persistent ? form.dataset.kept : form.dataset.retrying.replace("{seconds}", seconds), true);
    });
    let url = form.dataset.completions;
    for (let attempt = 0; ; attempt += 1) {
      const answer = await send(url, body, key).catch(() => null);
      if (!mayPass(answer) || attempt + 1 === ATTEMPTS_MAX) {
        stopListening?.();
        return answer;
      }
      const ticket = answer?.problem?.ticket ?? "";
      url = form.dataset.completions + (ticket && `?ticket=${ticket}`);
      const wait = waitMs(attempt, answer?.retryAfterS ?? 0, ticket);
      show(form.dataset.retrying.replace("{seconds}", Math.ceil(wait / 1000)), true);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  };

  // A problem names its place in the body: "#/contact/phone".
  const mark = (pointer) => {
    const [kind, name] = (pointer || "").replace(/^#\//, "").split("/").map(decodeURIComponent);
    const field = kind === "contact" ? form.elements[name] : form.elements[`answer:${name}`];
    const first = field instanceof RadioNodeList ? field[0] : field;
    if (!first) return;
    first.setAttribute("aria-invalid", "true");
    first.setAttribute("aria-errormessage", "status");
    first.focus();
  };

  form.addEventListener("input", (event) => {
    event.target.removeAttribute("aria-invalid");
    event.target.removeAttribute("aria-errormessage");
    showProgress();
    furthest = Math.max(furthest, questions.indexOf(event.target.closest("[data-question]")));
    visit?.reached(questions[furthest]?.dataset.question);
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (sending) return;
    sending = true;
    button.setAttribute("aria-disabled", "true");
    show(form.dataset.sending);
    const body = completion();
    const sent = sendUntilDecided(body, keyOf(JSON.stringify(body)));
    visit?.submitted(sent);
    const answer = await sent;
    sending = false;
    button.removeAttribute("aria-disabled");
    if (answer?.status === 202) {
      show("");
      form.hidden = true;
      document.getElementById("progress")?.setAttribute("hidden", "");
      const thanks = document.getElementById("thanks");
      thanks.hidden = false;
      thanks.focus();
    } else if (answer && answer.status === 422) {
      show(form.dataset.rejected, true);
      mark(answer.problem?.pointer);
    } else if (answer && answer.status === 409) {
      show(form.dataset.closed, true);
    } else {
      show(form.dataset.failed, true);
    }
  });

  // What an earlier visit could not send.
  const showWhatWaits = () => {
    const queue = window.quizstream;
    const url = new URL(form.dataset.completions, location.href).href;
    const keys = new Set((queue?.pending?.() ?? []).filter((one) => one.url === url).map((one) => one.key));
    if (!keys.size) return;
    show(form.dataset.waiting);
    queue.on((told) => {
      if (told.kind === "waiting" || told.kind === "stored" || !keys.delete(told.key) || sending) return;
      const accepted = told.kind === "accepted";
      show(accepted ? form.dataset.sent : form.dataset.lost, !accepted);
    });
  };

  showProgress();
  showWhatWaits();
})();
