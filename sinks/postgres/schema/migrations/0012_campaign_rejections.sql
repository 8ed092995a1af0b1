-- Recipients of a campaign whose message the provider rejected with one code, since a message of it was accepted. At
-- most `sender.rejected_alike_max` rows a campaign and a code; deleted by the next accepted message and by a resume.
CREATE TABLE campaign_rejections (
    campaign_id text NOT NULL,
    code        text NOT NULL,
    contact_id  text NOT NULL,
    PRIMARY KEY (campaign_id, code, contact_id)
);
