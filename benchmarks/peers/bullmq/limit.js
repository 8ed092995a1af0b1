// A sliding window per contact and per contact and quiz, in one script: one round trip, and atomic.
import { redis } from './connections.js';

export const CONTACT = { limit: Number(process.env.CONTACT_LIMIT ?? 20), windowMs: 3_600_000 };
export const CONTACT_QUIZ = { limit: Number(process.env.CONTACT_QUIZ_LIMIT ?? 5), windowMs: 3_600_000 };

redis.defineCommand('admit', {
  numberOfKeys: 2,
  lua: `
    local at, id = tonumber(ARGV[1]), ARGV[2]
    for i = 1, 2 do
      local window = tonumber(ARGV[2 * i + 2])
      redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', at - window)
      if not redis.call('ZSCORE', KEYS[i], id) and redis.call('ZCARD', KEYS[i]) >= tonumber(ARGV[2 * i + 1]) then
        return 0
      end
    end
    for i = 1, 2 do
      redis.call('ZADD', KEYS[i], at, id)
      redis.call('PEXPIRE', KEYS[i], ARGV[2 * i + 2])
    end
    return 1`,
});

export async function admitted(phone, quizId, id, at) {
  const room = await redis.admit(
    `limit:${phone}`,
    `limit:${phone}:${quizId}`,
    at,
    id,
    CONTACT.limit,
    CONTACT.windowMs,
    CONTACT_QUIZ.limit,
    CONTACT_QUIZ.windowMs,
  );
  return room === 1;
}
