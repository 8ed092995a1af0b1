import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import { databaseUrl, poolSize, redisUrl } from './settings.js';

export const pool = new pg.Pool({ connectionString: databaseUrl, max: poolSize });

// Pipelining: commands of one turn of the event loop share a round trip.
export const redis = new Redis(redisUrl, { maxRetriesPerRequest: null, enableAutoPipelining: true });

// Workers block on their connections: each gets one of its own.
export const workerConnection = () => new Redis(redisUrl, { maxRetriesPerRequest: null });

const defaultJobOptions = {
  removeOnComplete: true,
  removeOnFail: 5000,
  attempts: 10,
  backoff: { type: 'exponential', delay: 500 },
};

export const completionQueue = new Queue('completions', { connection: redis, defaultJobOptions });
export const messageQueue = new Queue('messages', { connection: redis, defaultJobOptions });
