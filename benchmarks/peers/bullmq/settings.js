// Everything from the environment; what is missing ends the process at once.

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

export const databaseUrl = required('DATABASE_URL');
export const redisUrl = required('REDIS_URL');
export const poolSize = Number(process.env.POOL_SIZE ?? 20);
export const concurrency = Number(process.env.CONCURRENCY ?? 50);
export { required };
