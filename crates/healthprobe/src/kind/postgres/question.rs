//! The question: one statement that yields one JSON document, with a section for each thing that is looked at.
//!
//! Constant text. Every function is qualified and `search_path` is empty, so that nothing an owner of the database has
//! defined is called (THREATS G9). What is told of sessions is who they are and how long they take, never their statements:
//! those hold other people's data.

use super::check::Check;
use anyhow::Result;
use common::pg::quote;
use std::collections::BTreeSet;

/// What is always asked.
const SERVER: &str = "'server', pg_catalog.json_build_object(\
    'version', pg_catalog.current_setting('server_version_num')::int4, \
    'release', pg_catalog.current_setting('server_version'), \
    'recovering', pg_catalog.pg_is_in_recovery(), \
    'superuser', pg_catalog.current_setting('is_superuser') = 'on', \
    'sees_all', pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), \
    'user', current_user, \
    'database', pg_catalog.current_database())";

/// Sessions: a count, and those that do or hold something. Without rights their kind is NULL, and a user says that they are
/// no processes of the server itself.
const SESSIONS: &str = "'sessions', (SELECT pg_catalog.json_build_object(\
    'used', pg_catalog.count(*) FILTER (WHERE backend_type = 'client backend' OR backend_type IS NULL AND usesysid IS NOT NULL), \
    'max', pg_catalog.current_setting('max_connections')::int4, \
    'reserved', pg_catalog.current_setting('superuser_reserved_connections')::int4 \
        + coalesce(pg_catalog.current_setting('reserved_connections', true)::int4, 0), \
    'busy', pg_catalog.json_agg(pg_catalog.json_build_object(\
        'pid', pid, 'user', pg_catalog.pg_get_userbyid(usesysid), 'application', application_name, 'state', state, \
        'query_seconds', extract(epoch FROM pg_catalog.clock_timestamp() - query_start), \
        'state_seconds', extract(epoch FROM pg_catalog.clock_timestamp() - state_change), \
        'waits_seconds', CASE WHEN wait_event_type = 'Lock' THEN extract(epoch FROM pg_catalog.clock_timestamp() - \
            coalesce((SELECT pg_catalog.min(l.waitstart) FROM pg_catalog.pg_lock_status() l WHERE l.pid = a.pid AND NOT l.granted), query_start)) END, \
        'blockers', CASE WHEN wait_event_type = 'Lock' THEN pg_catalog.pg_blocking_pids(pid) END)) \
        FILTER (WHERE state <> 'idle' AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid())) \
    FROM pg_catalog.pg_stat_get_activity(NULL) a)";

const PREPARED: &str = "'prepared', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(\
    'name', gid, 'seconds', extract(epoch FROM pg_catalog.clock_timestamp() - prepared))) FROM pg_catalog.pg_prepared_xact())";

/// Where the log of changes ends here: on a standby, what it has replayed.
const NOW: &str = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
    ELSE pg_catalog.pg_current_wal_lsn() END";

const WRAPAROUND: &str = "'oldest', (SELECT pg_catalog.json_build_object('database', datname, \
    'transactions', pg_catalog.age(datfrozenxid), 'multixacts', pg_catalog.mxid_age(datminmxid)) FROM pg_catalog.pg_database \
    ORDER BY greatest(pg_catalog.age(datfrozenxid), pg_catalog.mxid_age(datminmxid)) DESC LIMIT 1)";

const ARCHIVE: &str = "'archive', (SELECT pg_catalog.json_build_object(\
    'mode', pg_catalog.current_setting('archive_mode'), 'failed', failed_count, \
    'is_failing', last_failed_time > coalesce(last_archived_time, '-infinity'), \
    'since_seconds', extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(last_archived_time, stats_reset))) \
    FROM pg_catalog.pg_stat_get_archiver())";

const CHECKSUMS: &str = "'corrupt', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(\
    'database', datname, 'failures', pg_catalog.pg_stat_get_db_checksum_failures(oid))) FROM pg_catalog.pg_database \
    WHERE pg_catalog.pg_stat_get_db_checksum_failures(oid) > 0)";

const CACHE: &str = "'cache', (SELECT pg_catalog.json_build_object('hit', pg_catalog.pg_stat_get_db_blocks_hit(oid), \
    'fetched', pg_catalog.pg_stat_get_db_blocks_fetched(oid)) FROM pg_catalog.pg_database \
    WHERE datname = pg_catalog.current_database())";

/// Tables with ten thousand dead rows or more, those with the largest share first.
const VACUUM: &str = "'vacuum', pg_catalog.json_build_object(\
    'is_on', pg_catalog.current_setting('autovacuum') = 'on' AND pg_catalog.current_setting('track_counts') = 'on', \
    'tables', (SELECT pg_catalog.json_agg(t) FROM (SELECT \
        (SELECT nspname FROM pg_catalog.pg_namespace n WHERE n.oid = c.relnamespace) AS schema, relname AS name, \
        pg_catalog.pg_stat_get_dead_tuples(oid) AS dead, pg_catalog.pg_stat_get_live_tuples(oid) AS live, \
        pg_catalog.pg_stat_get_dead_tuples(oid) > pg_catalog.current_setting('autovacuum_vacuum_threshold')::float8 \
            + pg_catalog.current_setting('autovacuum_vacuum_scale_factor')::float8 * greatest(reltuples, 0) AS is_due, \
        extract(epoch FROM pg_catalog.clock_timestamp() - greatest(pg_catalog.pg_stat_get_last_vacuum_time(oid), \
            pg_catalog.pg_stat_get_last_autovacuum_time(oid))) AS vacuumed_seconds \
        FROM pg_catalog.pg_class c WHERE relkind IN ('r', 'm', 't') AND pg_catalog.pg_stat_get_dead_tuples(oid) >= 10000 \
        ORDER BY pg_catalog.pg_stat_get_dead_tuples(oid)::float8 / \
            (pg_catalog.pg_stat_get_dead_tuples(oid) + pg_catalog.pg_stat_get_live_tuples(oid)) DESC LIMIT 20) t))";

/// Indexes over 10 MiB that no query used since the statistics began, and that enforce nothing; those that a failed CREATE
/// INDEX CONCURRENTLY left; tables over 10 MiB that are mostly read from end to end. Sizes as ANALYZE has seen them: looking
/// at files takes locks.
const INDEXES: &str = "'indexes', pg_catalog.json_build_object(\
    'since_seconds', (SELECT extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(pg_catalog.pg_stat_get_db_stat_reset_time(oid), \
        pg_catalog.pg_postmaster_start_time())) FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()), \
    'unused', (SELECT pg_catalog.json_agg(t) FROM (SELECT (SELECT nspname FROM pg_catalog.pg_namespace n WHERE n.oid = c.relnamespace) AS schema, \
        relname AS name, relpages::int8 * pg_catalog.current_setting('block_size')::int8 AS bytes \
        FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
        WHERE NOT indisunique AND indisvalid AND relkind = 'i' AND i.indexrelid >= 16384 \
            AND relpages::int8 * pg_catalog.current_setting('block_size')::int8 >= 10485760 \
            AND pg_catalog.pg_stat_get_numscans(i.indexrelid) = 0 \
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid) \
        ORDER BY relpages DESC LIMIT 20) t), \
    'invalid', (SELECT pg_catalog.json_agg(t) FROM (SELECT (SELECT nspname FROM pg_catalog.pg_namespace n WHERE n.oid = c.relnamespace) AS schema, \
        relname AS name, relpages::int8 * pg_catalog.current_setting('block_size')::int8 AS bytes \
        FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
        WHERE NOT indisvalid AND relkind = 'i' AND i.indexrelid >= 16384 LIMIT 20) t), \
    'missing', (SELECT pg_catalog.json_agg(t) FROM (SELECT (SELECT nspname FROM pg_catalog.pg_namespace n WHERE n.oid = c.relnamespace) AS schema, \
        relname AS name, relpages::int8 * pg_catalog.current_setting('block_size')::int8 AS bytes \
        FROM pg_catalog.pg_class c WHERE relkind IN ('r', 'm') AND oid >= 16384 \
            AND relpages::int8 * pg_catalog.current_setting('block_size')::int8 >= 10485760 \
            AND pg_catalog.pg_stat_get_numscans(oid) >= 100 \
            AND pg_catalog.pg_stat_get_tuples_returned(oid) / pg_catalog.pg_stat_get_numscans(oid) >= 10000 \
            AND pg_catalog.pg_stat_get_numscans(oid) > coalesce((SELECT pg_catalog.sum(pg_catalog.pg_stat_get_numscans(i.indexrelid)) \
                FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid), 0) \
        ORDER BY pg_catalog.pg_stat_get_tuples_returned(oid) DESC LIMIT 20) t))";

const SIZE: &str = "'size', pg_catalog.json_build_object('bytes', pg_catalog.pg_database_size(pg_catalog.current_database()), \
    'tables', (SELECT pg_catalog.json_agg(t) FROM (SELECT (SELECT nspname FROM pg_catalog.pg_namespace n WHERE n.oid = c.relnamespace) AS schema, \
        relname AS name, relpages::int8 * pg_catalog.current_setting('block_size')::int8 AS bytes \
        FROM pg_catalog.pg_class c WHERE relkind IN ('r', 'm') AND oid >= 16384 AND relpages > 0 ORDER BY relpages DESC LIMIT 3) t))";

/// Only the extension's own schema counts: anybody may name a view like the extension's.
const STATEMENTS_IN: &str = "'statements_in', (SELECT n.nspname FROM pg_catalog.pg_extension e \
    JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements')";

/// The question for these checks.
pub(super) fn text(checks: &BTreeSet<Check>) -> String {
    let mut sections = vec![SERVER.to_owned()];
    if checks.iter().any(|check| matches!(check, Check::Connections | Check::Queries | Check::Blocked | Check::Idle)) {
        sections.push(SESSIONS.to_owned());
    }
    sections.extend(checks.iter().filter_map(|check| section(*check)));
    format!("SELECT pg_catalog.json_build_object({})", sections.join(", "))
}

fn section(check: Check) -> Option<String> {
    let constant = match check {
        Check::Connections | Check::Queries | Check::Blocked | Check::Idle => return None,
        Check::Replication => return Some(replication()),
        Check::Slots => return Some(slots()),
        Check::Prepared => PREPARED,
        Check::Wraparound => WRAPAROUND,
        Check::Archive => ARCHIVE,
        Check::Checksums => CHECKSUMS,
        Check::Vacuum => VACUUM,
        Check::Cache => CACHE,
        Check::Indexes => INDEXES,
        Check::Statements => STATEMENTS_IN,
        Check::Size => SIZE,
    };
    Some(constant.to_owned())
}

/// Who only receives (pg_receivewal, Barman) replays nothing, and by the server's count is further behind with every second;
/// so of those it counts what they have written. After its start a standby tells less as received than it has replayed, since
/// that begins with the segment, and no time of a last change until it replays one.
fn replication() -> String {
    format!(
        "'standbys', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('pid', s.pid, 'state', s.state, \
            'name', a.application_name, \
            'seconds', extract(epoch FROM CASE WHEN s.replay_lsn IS NULL THEN s.write_lag ELSE s.replay_lag END), \
            'bytes', pg_catalog.pg_wal_lsn_diff({NOW}, coalesce(s.replay_lsn, s.write_lsn)))) \
            FROM pg_catalog.pg_stat_get_wal_senders() s, LATERAL pg_catalog.pg_stat_get_activity(s.pid) a), \
        'standby', CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.json_build_object(\
            'receiver', (SELECT pid IS NOT NULL FROM pg_catalog.pg_stat_get_wal_receiver()), \
            'is_paused', pg_catalog.pg_is_wal_replay_paused(), \
            'is_caught_up', pg_catalog.pg_last_wal_receive_lsn() <= pg_catalog.pg_last_wal_replay_lsn(), \
            'received', pg_catalog.pg_last_wal_receive_lsn(), \
            'seconds', extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(pg_catalog.pg_last_xact_replay_timestamp(), \
                pg_catalog.pg_postmaster_start_time())), \
            'bytes', pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())) END"
    )
}

/// Whether a standby has replayed the log up to there.
///
/// # Errors
///
/// Never: a place in the log holds no NUL.
pub(super) fn has_replayed(received: &str) -> Result<String> {
    let received = quote::literal(received)?;
    Ok(format!("SELECT pg_catalog.to_json(pg_catalog.pg_last_wal_replay_lsn() >= {received}::pg_catalog.pg_lsn)"))
}

/// Columns that came with later versions are read from the row as a whole.
fn slots() -> String {
    format!(
        "'slots', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', slot_name, 'is_active', active, \
            'wal', wal_status, 'bytes', pg_catalog.pg_wal_lsn_diff({NOW}, restart_lsn), \
            'why', pg_catalog.to_json(s) ->> 'invalidation_reason')) FROM pg_catalog.pg_get_replication_slots() s)"
    )
}

/// The statements with the longest mean time, from the extension's own view. Text is shown of statements whose constants the
/// extension has taken out, and of no others.
///
/// # Errors
///
/// Never: a schema's name holds no NUL.
pub(super) fn statements(schema: &str) -> Result<String> {
    let schema = quote::identifier(schema)?;
    Ok(format!(
        "SELECT coalesce((SELECT pg_catalog.json_agg(t) FROM (SELECT s.calls, s.mean_exec_time / 1000 AS seconds, \
            CASE WHEN s.query ~* '^\\s*(select|insert|update|delete|with|merge)\\M' THEN pg_catalog.left(s.query, 80) END AS text, \
            s.queryid::pg_catalog.text AS id FROM {schema}.pg_stat_statements(true) s \
            WHERE s.calls >= 10 AND s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
            ORDER BY s.mean_exec_time DESC LIMIT 3) t), '[]')"
    ))
}
