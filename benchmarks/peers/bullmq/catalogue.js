// Quizzes and campaigns in memory, read again every few seconds.
import { pool } from './connections.js';

const REFRESH_MS = 5000;

export const quizzes = new Map(); // quiz id -> Set of question ids
export const campaigns = new Map(); // quiz id -> campaigns

async function refresh() {
  const known = await pool.query('SELECT quiz_id, questions FROM quizzes');
  for (const row of known.rows) quizzes.set(row.quiz_id, new Set(row.questions));
  const found = await pool.query('SELECT campaign_id, quiz_id, conditions, template FROM campaigns');
  const byQuiz = group(found.rows);
  campaigns.clear();
  for (const [quizId, rows] of byQuiz) campaigns.set(quizId, rows);
}

function group(rows) {
  const groups = new Map();
  for (const row of rows) {
    if (!groups.has(row.quiz_id)) groups.set(row.quiz_id, []);
    groups.get(row.quiz_id).push(row);
  }
  return groups;
}

export async function follow() {
  await refresh();
  setInterval(() => refresh().catch((error) => console.error(error)), REFRESH_MS).unref();
}

export function matching(quizId, answers) {
  return (campaigns.get(quizId) ?? []).filter((campaign) =>
    campaign.conditions.every((condition) => condition.values.includes(answers[condition.question])),
  );
}
