-- first_completion --
-- With the month, which is in the ledger's key: one probe of one partition.
SELECT d.completion_id::text
FROM campaigns AS c
JOIN deliveries AS d ON d.campaign_month = c.month AND d.campaign_id = c.campaign_id
WHERE c.campaign_id = %(campaign)s AND d.contact_id = %(contact)s
