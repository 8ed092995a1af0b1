// Two workers: completions are limited, matched and written down; messages are sent.
import { Worker } from 'bullmq';
import { follow, matching } from './catalogue.js';
import { messageQueue, pool, workerConnection } from './connections.js';
import { admitted } from './limit.js';
import { concurrency, required } from './settings.js';

const provider = required('PROVIDER_URL');
const accessToken = required('ACCESS_TOKEN');
const numbers = required('NUMBERS').split(',');
const messagesPerS = Number(required('MESSAGES_PER_S')); // a number, at the provider
const LIMITER_MS = 100;
const LIMITER_SHARE = 0.9; // the provider's second slides, BullMQ's windows do not

const JUDGED = {
  name: 'judged',
  text: 'UPDATE completions SET verdict = $2, processed_at = clock_timestamp() WHERE id = $1',
};
const DELIVERY = {
  name: 'delivery',
  text:
    'INSERT INTO deliveries (campaign_id, phone, completion_id) VALUES ($1, $2, $3) ' +
    'ON CONFLICT (campaign_id, phone) DO NOTHING RETURNING id',
};
const SENT = {
  name: 'sent',
  text: "UPDATE deliveries SET state = 'sent', provider_message_id = $2, sent_at = now() WHERE id = $1",
};

async function judge(job) {
  const { id, quizId, phone, answers, at } = job.data;
  let verdict = 'limited';
  if (await admitted(phone, quizId, id, at)) {
    const found = matching(quizId, answers);
    verdict = found.length ? 'matched' : 'unmatched';
    for (const campaign of found) {
      const inserted = await pool.query({ ...DELIVERY, values: [campaign.campaign_id, phone, id] });
      if (inserted.rowCount === 0) continue;
      const deliveryId = inserted.rows[0].id;
      await messageQueue.add('message', { deliveryId, phone, template: campaign.template }, { jobId: deliveryId });
    }
  }
  await pool.query({ ...JUDGED, values: [id, verdict] });
}

let turn = 0;

async function send(job) {
  const { deliveryId, phone, template } = job.data;
  const number = numbers[turn++ % numbers.length];
  const response = await fetch(`${provider}/v23.0/${number}/messages`, {
    method: 'POST',
    headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      messaging_product: 'whatsapp',
      recipient_type: 'individual',
      to: phone,
      type: 'template',
      template: { name: template, language: { code: 'pt_BR' } },
      biz_opaque_callback_data: deliveryId,
    }),
    signal: AbortSignal.timeout(10_000),
  });
  const said = await response.json();
  if (!response.ok) throw new Error(`the provider said ${response.status} ${said.error?.code}`);
  await pool.query({ ...SENT, values: [deliveryId, said.messages[0].id] });
}

await follow();
const workers = [
  new Worker('completions', judge, { connection: workerConnection(), concurrency }),
  new Worker('messages', send, {
    connection: workerConnection(),
    concurrency,
    limiter: {
      max: Math.max(1, Math.floor((LIMITER_SHARE * messagesPerS * numbers.length * LIMITER_MS) / 1000)),
      duration: LIMITER_MS,
    },
  }),
];
for (const worker of workers) {
  worker.on('failed', (job, error) => console.error(`${job?.queueName} ${job?.id}: ${error.message}`));
  worker.on('error', (error) => console.error(error));
}
console.log('ready');
