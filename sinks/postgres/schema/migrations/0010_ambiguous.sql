-- Deliveries in doubt are counted every few seconds, for an alert. They are few in a ledger of millions.
CREATE INDEX deliveries_ambiguous ON deliveries (campaign_month, campaign_id, contact_id) WHERE state = 'ambiguous';
