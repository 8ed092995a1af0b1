// POST /quiz/:id/completions: validate, insert, enqueue, 202.
import { createHash, timingSafeEqual } from 'node:crypto';
import express from 'express';
import { follow, quizzes } from './catalogue.js';
import { completionQueue, pool } from './connections.js';
import { required } from './settings.js';

const token = Buffer.from(`Bearer ${required('SERVICE_TOKEN')}`);
const PHONE = /^\+[1-9][0-9]{7,14}$/;
const ANSWERS_MAX = 200;
const ANSWER_CHARS_MAX = 2000;

const INSERT = {
  name: 'insert-completion',
  text:
    'INSERT INTO completions (id, quiz_id, phone, answers) VALUES ($1, $2, $3, $4) ' +
    'ON CONFLICT (id) DO NOTHING',
};

// Ready bytes: Express's own json() would also make an ETag.
function answer(response, status, body) {
  const bytes = Buffer.from(JSON.stringify(body));
  response.statusCode = status;
  response.setHeader('content-type', 'application/json');
  response.setHeader('content-length', bytes.length);
  response.end(bytes);
}

function authorize(request, response, next) {
  const given = Buffer.from(request.headers.authorization ?? '');
  if (given.length === token.length && timingSafeEqual(given, token)) next();
  else answer(response, 401, { error: 'unauthorized' });
}

// The same key handed in again is the same completion.
function completionId(quizId, key, phone) {
  const hash = createHash('sha1').update(`${quizId}|${key}|${phone}`).digest('hex');
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-5${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
}

function problem(questions, key, phone, answers) {
  if (questions === undefined) return 'unknown quiz';
  if (!key) return 'an Idempotency-Key is needed';
  if (typeof phone !== 'string' || !PHONE.test(phone)) return 'contact.phone is no E.164 number';
  if (answers === null || typeof answers !== 'object' || Array.isArray(answers)) return 'answers is no object';
  const given = Object.entries(answers);
  if (given.length === 0 || given.length > ANSWERS_MAX) return 'too few or too many answers';
  for (const [question, text] of given) {
    if (!questions.has(question)) return `unknown question ${question}`;
    if (typeof text !== 'string' || text.length > ANSWER_CHARS_MAX) return `answers.${question} is no text`;
  }
  return undefined;
}

const app = express();
app.disable('x-powered-by');
app.disable('etag');

app.get('/health', (_request, response) => answer(response, 200, { ready: true }));

app.post('/quiz/:id/completions', authorize, express.json({ limit: '64kb' }), async (request, response) => {
  const quizId = request.params.id;
  const key = request.headers['idempotency-key'];
  const phone = request.body?.contact?.phone;
  const answers = request.body?.answers;
  const wrong = problem(quizzes.get(quizId), key, phone, answers);
  if (wrong !== undefined) {
    answer(response, 422, { error: wrong });
    return;
  }
  const id = completionId(quizId, key, phone);
  await pool.query({ ...INSERT, values: [id, quizId, phone, JSON.stringify(answers)] });
  await completionQueue.add('completion', { id, quizId, phone, answers, at: Date.now() }, { jobId: id });
  answer(response, 202, { completion_id: id });
});

app.use((error, _request, response, _next) => {
  console.error(error);
  answer(response, error.status ?? 503, { error: 'try again' });
});

await follow();
const server = app.listen(Number(required('PORT')), '127.0.0.1', 1024);
server.keepAliveTimeout = 65_000; // longer than a client keeps an idle connection
