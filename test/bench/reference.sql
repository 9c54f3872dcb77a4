-- The table of test/bench/reference.py, with what there is now. That consumer passes over rows
-- that lack a part of the key, so the view leaves them out as well.
CREATE VIEW service_stats_reference_definition AS
SELECT * FROM ft_service_stats_definition
WHERE service_id IS NOT NULL AND template_id IS NOT NULL AND notification_status IS NOT NULL;

CREATE TABLE service_stats_reference (
    bst_date date,
    service_id uuid,
    template_id uuid,
    notification_type notification_type,
    notification_status text,
    notification_count bigint NOT NULL,
    PRIMARY KEY (bst_date, service_id, template_id, notification_type, notification_status)
);
INSERT INTO service_stats_reference TABLE service_stats_reference_definition;

-- It decrements to zero, but deletes nothing.
CREATE VIEW service_stats_reference_shown AS
SELECT * FROM service_stats_reference WHERE notification_count > 0;
