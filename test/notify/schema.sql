-- The tables of GOV.UK Notify that its service statistics count: the same columns in the
-- same order, with the same types, keys and indexes. The parents are reduced to their keys.
--
-- Notify has dropped columns in both tables over the years, so a column's number is not its
-- position, and differs between the two. The gap_N columns below are made and dropped to
-- leave the same holes.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE TYPE notification_type AS ENUM ('email', 'sms', 'letter');

CREATE TABLE key_types (name varchar(255) PRIMARY KEY);
INSERT INTO key_types VALUES ('normal'), ('team'), ('test');

CREATE TABLE notification_status_types (name varchar PRIMARY KEY);
INSERT INTO notification_status_types VALUES
    ('cancelled'), ('created'), ('sending'), ('sent'), ('delivered'), ('pending'), ('failed'),
    ('technical-failure'), ('temporary-failure'), ('permanent-failure'),
    ('pending-virus-check'), ('validation-failed'), ('virus-scan-failed'),
    ('returned-letter');

CREATE TABLE services (id uuid PRIMARY KEY);
CREATE TABLE users (id uuid PRIMARY KEY);
CREATE TABLE api_keys (id uuid PRIMARY KEY);
CREATE TABLE jobs (id uuid PRIMARY KEY);
CREATE TABLE templates (id uuid PRIMARY KEY);
CREATE TABLE templates_history (id uuid, version integer, PRIMARY KEY (id, version));

-- Notifications of the last days: inserted as they are requested, updated as they are sent
-- and delivered.
CREATE TABLE notifications (
    id uuid NOT NULL,
    "to" varchar NOT NULL,
    job_id uuid,
    service_id uuid,
    template_id uuid,
    created_at timestamp NOT NULL,      -- UTC
    sent_at timestamp,
    sent_by varchar,
    updated_at timestamp,
    gap_10 integer,
    reference varchar,
    gap_12 integer,
    template_version integer NOT NULL,
    gap_14 integer,
    job_row_number integer,
    gap_16 integer,
    _personalisation varchar,           -- signed JSON, long enough for TOAST now and then
    gap_18 integer,
    api_key_id uuid,
    key_type varchar(255) NOT NULL,
    notification_type notification_type NOT NULL,
    billable_units integer NOT NULL,
    client_reference varchar,
    international boolean,
    phone_prefix varchar,
    rate_multiplier numeric,
    notification_status text NOT NULL,
    normalised_to varchar,
    created_by_id uuid,
    reply_to_text varchar,
    postage varchar,
    document_download_count integer,
    unsubscribe_link varchar,
    CONSTRAINT notifications_pkey PRIMARY KEY (id),
    CONSTRAINT uq_notifications_job_row_number UNIQUE (job_id, job_row_number),
    CONSTRAINT ck_notifications_notification_status_not_null
        CHECK (notification_status IS NOT NULL),
    CONSTRAINT ck_unsubscribe_link_is_null_if_notification_not_an_email
        CHECK (notification_type = 'email' OR unsubscribe_link IS NULL),
    CONSTRAINT notifications_service_id_fkey
        FOREIGN KEY (service_id) REFERENCES services (id),
    CONSTRAINT notifications_job_id_fkey
        FOREIGN KEY (job_id) REFERENCES jobs (id),
    CONSTRAINT notifications_api_key_id_fkey
        FOREIGN KEY (api_key_id) REFERENCES api_keys (id),
    CONSTRAINT notifications_key_type_fkey
        FOREIGN KEY (key_type) REFERENCES key_types (name),
    CONSTRAINT notifications_created_by_id_fkey
        FOREIGN KEY (created_by_id) REFERENCES users (id),
    CONSTRAINT fk_notifications_notification_status
        FOREIGN KEY (notification_status) REFERENCES notification_status_types (name),
    CONSTRAINT notifications_templates_history_fkey
        FOREIGN KEY (template_id, template_version) REFERENCES templates_history (id, version)
);
ALTER TABLE notifications
    DROP COLUMN gap_10, DROP COLUMN gap_12, DROP COLUMN gap_14, DROP COLUMN gap_16,
    DROP COLUMN gap_18;

CREATE INDEX ix_notifications_created_at ON notifications (created_at);
CREATE INDEX ix_notifications_job_id ON notifications (job_id);
CREATE INDEX ix_notifications_template_id ON notifications (template_id);
CREATE INDEX ix_notifications_reference ON notifications (reference);
CREATE INDEX ix_notifications_client_reference ON notifications (client_reference);
CREATE INDEX ix_notifications_notification_type_composite
    ON notifications (notification_type, notification_status, created_at);
CREATE INDEX ix_notifications_service_created_at ON notifications (service_id, created_at);
CREATE INDEX ix_notifications_service_id_ntype_created_at
    ON notifications (service_id, notification_type, created_at);
CREATE INDEX ix_notifications_nondelivered_service_id_composite
    ON notifications (service_id, notification_type, created_at)
    WHERE notification_status <> 'delivered';
CREATE INDEX ix_notifications_normalised_to_trgm
    ON notifications USING gin (normalised_to gin_trgm_ops);
CREATE INDEX ix_notifications_client_reference_trgm
    ON notifications USING gin (client_reference gin_trgm_ops);
CREATE UNIQUE INDEX ix_notifications_id_status ON notifications (id, notification_status);

-- Older notifications, moved here by the archive transaction.
CREATE TABLE notification_history (
    id uuid NOT NULL,
    job_id uuid,
    job_row_number integer,
    service_id uuid,
    template_id uuid,
    template_version integer NOT NULL,
    api_key_id uuid,
    key_type varchar NOT NULL,
    gap_9 integer,
    notification_type notification_type NOT NULL,
    created_at timestamp NOT NULL,
    sent_at timestamp,
    sent_by varchar,
    updated_at timestamp,
    gap_15 integer,
    reference varchar,
    billable_units integer NOT NULL,
    client_reference varchar,
    international boolean,
    phone_prefix varchar,
    rate_multiplier numeric,
    notification_status text,           -- nullable, unlike in notifications
    created_by_id uuid,
    postage varchar,
    document_download_count integer,
    CONSTRAINT notification_history_pkey PRIMARY KEY (id),
    CONSTRAINT notification_history_service_id_fkey
        FOREIGN KEY (service_id) REFERENCES services (id),
    CONSTRAINT notification_history_job_id_fkey
        FOREIGN KEY (job_id) REFERENCES jobs (id),
    CONSTRAINT notification_history_api_key_id_fkey
        FOREIGN KEY (api_key_id) REFERENCES api_keys (id),
    CONSTRAINT notification_history_key_type_fkey
        FOREIGN KEY (key_type) REFERENCES key_types (name),
    CONSTRAINT fk_notification_history_notification_status
        FOREIGN KEY (notification_status) REFERENCES notification_status_types (name),
    CONSTRAINT notification_history_templates_history_fkey
        FOREIGN KEY (template_id, template_version) REFERENCES templates_history (id, version)
);
ALTER TABLE notification_history DROP COLUMN gap_9, DROP COLUMN gap_15;

CREATE INDEX ix_notification_history_created_at ON notification_history (created_at);
CREATE INDEX ix_notification_history_job_id ON notification_history (job_id);
CREATE INDEX ix_notification_history_reference ON notification_history (reference);
CREATE INDEX ix_notification_history_service_id ON notification_history (service_id);
CREATE INDEX ix_notification_history_service_id_composite
    ON notification_history (service_id, key_type, notification_type, created_at);
