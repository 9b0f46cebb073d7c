-- A small shop, for the demo and the benchmark: psql -v scale=N -f sample-database.sql DATABASE
--
-- N=1 makes 228,000 rows, about 60 MB of dump. The rows look like an application's: names, addresses, prices, free
-- text, JSON, identifiers. They are the same every time, and they compress like real ones, which pgbench's do not.

SET client_min_messages = warning;
BEGIN;
SELECT setseed(0.42) \g /dev/null

CREATE TYPE order_state AS ENUM ('new', 'paid', 'sent', 'returned');

CREATE TABLE customers (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE,
    name text NOT NULL,
    street text NOT NULL,
    city text NOT NULL,
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE orders (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers,
    token uuid NOT NULL UNIQUE,
    state order_state NOT NULL,
    total numeric(10, 2) NOT NULL CHECK (total >= 0),
    remark text,
    created_at timestamptz NOT NULL
);
CREATE TABLE order_items (
    order_id integer NOT NULL REFERENCES orders,
    line smallint NOT NULL,
    article text NOT NULL,
    quantity smallint NOT NULL,
    price numeric(8, 2) NOT NULL,
    PRIMARY KEY (order_id, line)
);
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    event jsonb NOT NULL
);
CREATE SEQUENCE invoice_number START 2026001;

-- Some words, picked by chance; the sum of two chances makes the first ones frequent, as in a language.
CREATE FUNCTION pg_temp.words(count integer) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT string_agg((ARRAY[
        'the', 'and', 'to', 'of', 'please', 'is', 'for', 'we', 'with', 'order', 'not', 'parcel', 'it', 'address', 'on',
        'delivery', 'was', 'at', 'customer', 'door', 'after', 'from', 'invoice', 'has', 'been', 'before', 'neighbour',
        'wrong', 'size', 'returned', 'changed', 'colour', 'Monday', 'call', 'phone', 'gift', 'wrapped', 'paper', 'blue',
        'credit', 'card', 'refund', 'voucher', 'expired', 'warehouse', 'driver', 'morning', 'afternoon', 'bell', 'broken',
        'floor', 'company', 'reception', 'signature', 'damaged', 'replacement', 'missing', 'screws', 'manual', 'Zürich'
    ])[1 + abs(floor(60 * (random() + random() - 1)))::integer % 60], ' ')
    FROM generate_series(1, count)
$$;

INSERT INTO customers (email, name, street, city, password_hash, created_at)
SELECT lower(first || '.' || last || n || '@' || (ARRAY['example.com', 'example.org', 'mail.example'])[1 + n % 3]),
    first || ' ' || last,
    (ARRAY['Bahnhofstrasse', 'Main Street', 'Rue du Lac', 'Via Roma', 'Lindenweg'])[1 + (n / 7) % 5] || ' ' || n % 180,
    (ARRAY['Zürich', 'Springfield', 'Genève', 'Milano', 'København', 'Łódź'])[1 + (n / 3) % 6],
    '$2b$12$' || translate(encode(sha256(n::text::bytea), 'base64'), '=', ''),
    timestamptz '2024-01-01 UTC' + n * interval '41 minutes'
FROM generate_series(1, 8000 * :scale) AS n,
    LATERAL (SELECT
        (ARRAY['Anna', 'Ben', 'Chloé', 'David', 'Emma', 'Finn', 'Greta', 'Hugo', 'Ida', 'Jan'])[1 + (n * 7) % 10] AS first,
        (ARRAY['Meier', 'Smith', 'Dubois', 'Rossi', 'Nielsen', 'Kowalski', 'Weber', 'Brown'])[1 + (n * 5) % 8] AS last) AS name;

INSERT INTO orders (customer_id, token, state, total, remark, created_at)
SELECT 1 + floor(random() * 8000 * :scale), md5('order' || n)::uuid,
    (ARRAY['new', 'paid', 'sent', 'sent', 'sent', 'returned'])[1 + floor(random() * 6)::integer]::order_state,
    round((random() * 400)::numeric, 2),
    CASE WHEN n % 3 = 0 THEN pg_temp.words(12 + n % 20) END,
    timestamptz '2024-03-01 UTC' + n * interval '18 minutes' + random() * interval '18 minutes'
FROM generate_series(1, 40000 * :scale) AS n;

INSERT INTO order_items
SELECT n, line, 'SKU-' || (1000 + floor(random() * 9000)) || '-' || (ARRAY['S', 'M', 'L', 'XL'])[line],
    1 + floor(random() * 4), round((5 + random() * 95)::numeric, 2)
FROM generate_series(1, 40000 * :scale) AS n, generate_series(1, 1 + n % 4) AS line;

INSERT INTO audit_log (at, actor, event)
SELECT timestamptz '2025-01-01 UTC' + n * interval '5 minutes' + random() * interval '5 minutes',
    'user' || floor(random() * 8000 * :scale),
    jsonb_build_object(
        'action', (ARRAY['login', 'order.create', 'order.update', 'profile.update', 'password.reset'])[1 + n % 5],
        'ip', '203.0.113.' || floor(random() * 256),
        'request', md5('request' || n)::uuid,
        'agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:' || 115 + n % 20 || '.0) Gecko/20100101 Firefox/' || 115 + n % 20 || '.0',
        'duration_ms', round((random() * 900)::numeric, 1),
        'changes', jsonb_build_array(
            jsonb_build_object('field', 'remark', 'old', pg_temp.words(15), 'new', pg_temp.words(20)),
            jsonb_build_object('field', 'state', 'old', 'new', 'new', 'paid')))
FROM generate_series(1, 80000 * :scale) AS n;

SELECT setval('invoice_number', 2026000 + 20000 * :scale) \g /dev/null
-- A scanned receipt, as a large object.
SELECT lo_from_bytea(0, string_agg(sha256(n::text::bytea), NULL)) FROM generate_series(1, 20000) AS n \g /dev/null

CREATE INDEX ON orders (customer_id);
CREATE INDEX ON orders (created_at);
CREATE INDEX ON audit_log USING brin (at);
CREATE VIEW revenue AS
    SELECT date_trunc('month', created_at) AS month, sum(total) AS total FROM orders WHERE state <> 'returned' GROUP BY 1;
CREATE FUNCTION order_total(id integer) RETURNS numeric LANGUAGE sql STABLE
    RETURN (SELECT sum(quantity * price) FROM order_items WHERE order_id = id);

COMMIT;
VACUUM ANALYZE;
