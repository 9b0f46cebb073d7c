//! ENVIRONMENT, FILES and SEE ALSO of every page.

/// What a page says that the options do not know.
pub(super) struct Page {
    pub(super) tool: &'static str,
    pub(super) environment: &'static [(&'static str, &'static str)],
    pub(super) files: &'static [(&'static str, &'static str)],
    pub(super) see_also: &'static [(&'static str, &'static str)],
}

pub(super) const PAGES: &[Page] = &[
    Page {
        tool: "pgbackup",
        environment: &[
            (
                "DATABASE_URL",
                "Where the database is, when no operand and no --env-file says so; as SQLAlchemy, Prisma, Django and \
                 Rails write it.",
            ),
            (
                "PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSWORD, PGSERVICE, PGSSLMODE, …",
                "As libpq has them. They are handed on to the client programs, and nothing else but PATH, HOME, USER, \
                 LOGNAME, LANG, LC_*, TZ and TMPDIR is.",
            ),
        ],
        files: &[
            ("LABEL.sql.gz, LABEL.sql.zst, LABEL.sql", "The archive of a database or of globals."),
            ("LABEL.data.gz, LABEL.data.zst, LABEL.data", "The archive of a stream (--stdin)."),
            ("LABEL.index.jsonl", "What is in the archive, and the members that it is made of."),
            ("LABEL.sha256", "For `sha256sum -c`: archive, index and manifest."),
            ("LABEL.manifest.json", "The summary. It comes last: without a manifest there is no backup."),
            ("LABEL.pin", "Where it exists, the backup is never expired. Make it with touch(1)."),
            (
                ".NAME.lock, .nightshift.lock",
                "Locks of the runs on one database, and of expiry. They stay; removing one lets two runs start at once.",
            ),
            (
                ".LABEL.*.partial",
                "A backup that is being made, or was when its run was killed; the next run removes it.",
            ),
            ("~/.pgpass, ~/.pg_service.conf", "Passwords and services, read by libpq."),
        ],
        see_also: &[
            ("backup-verify", "8"),
            ("nightshift-backup", "5"),
            ("nightshift-journal", "5"),
            ("nightshift", "7"),
            ("pg_dump", "1"),
            ("psql", "1"),
        ],
    },
    Page {
        tool: "pgrestore-safe",
        environment: &[
            (
                "PGHOST, PGPORT, PGUSER, PGPASSWORD, PGSERVICE, PGSSLMODE, …",
                "As psql reads them; a service file and ~/.pgpass count, too. Nothing of them reaches the sessions that load, \
                 which log in as a role of their own.",
            ),
            ("XDG_STATE_HOME, HOME", "Where the record of restores lies, unless root runs this."),
        ],
        files: &[
            (
                "/var/lib/nightshift/pgrestore-safe",
                "The record of restores: what a run is about to do, and which databases earlier ones have put aside. --undo, \
                 --recover and --drop-old act only on what is in it.",
            ),
            ("LABEL.pin", "Put beside the backup while it is read, so that no retention takes it away."),
        ],
        see_also: &[
            ("pgbackup", "8"),
            ("backup-verify", "8"),
            ("nightshift-backup", "5"),
            ("nightshift-journal", "5"),
            ("nightshift", "7"),
            ("pg_restore", "1"),
        ],
    },
    Page {
        tool: "backup-verify",
        environment: &[],
        files: &[
            ("LABEL.manifest.json, LABEL.index.jsonl, LABEL.sha256", "What was recorded while the dump streamed by."),
            ("LABEL.sql.gz, LABEL.data.gz, …", "The archive that is compared with it."),
            (
                "LABEL.verified.json",
                "The last verdict: when, how deep, what was found. Retention of pgbackup(8) reads it: it keeps the newest \
                 proven backup, and counts none that was found bad.",
            ),
            (
                "/var/lib/nightshift-verify",
                "Where throw-away servers live as long as --depth restored runs; ~/.cache/nightshift/verify for users \
                 other than root.",
            ),
        ],
        see_also: &[
            ("pgbackup", "8"),
            ("nightshift-backup", "5"),
            ("nightshift-journal", "5"),
            ("nightshift", "7"),
            ("pg_restore", "1"),
            ("sha256sum", "1"),
        ],
    },
    Page {
        tool: "certcheck",
        environment: &[(
            "SSL_CERT_FILE, SSL_CERT_DIR",
            "A file and directories of certificates that are trusted instead of those of the system, as OpenSSL has them.",
        )],
        files: &[
            ("/etc/ssl/certs", "The roots of the system, from the Debian package ca-certificates."),
            (
                "/etc/letsencrypt/live/NAME/fullchain.pem",
                "What certbot keeps. Its cert.pem and chain.pem hold the same certificates and are passed over; privkey.pem \
                 beside it is compared with it.",
            ),
            (
                "NAME.key, NAME-key.pem, NAME.key.pem",
                "Beside NAME.pem or NAME.crt: its private key. It is compared, and nothing of it is ever shown.",
            ),
            ("acme.json", "What Traefik keeps, in the layouts of its versions 1 to 3."),
        ],
        see_also: &[
            ("nightshift-journal", "5"),
            ("nightshift", "7"),
            ("openssl-s_client", "1ssl"),
            ("openssl-x509", "1ssl"),
            ("openssl-pkcs12", "1ssl"),
        ],
    },
    Page {
        tool: "healthprobe",
        environment: &[
            (
                "PATH",
                "Where command: and the tools of this package are looked for, in directories that only root can write to.",
            ),
            ("PGHOST, PGPORT, PGUSER, PGPASSWORD, PGSERVICE, …", "As psql reads them, for postgres: and sql:."),
            (
                "SSL_CERT_FILE, SSL_CERT_DIR",
                "A file and directories of certificates that are trusted instead of those of the system.",
            ),
            (
                "XDG_RUNTIME_DIR, DBUS_SESSION_BUS_ADDRESS",
                "Where the manager of our own user is found, for systemd: targets with the option user.",
            ),
        ],
        files: &[
            ("/etc/nightshift/targets", "A good place for a file of targets; see healthprobe-targets(5)."),
            ("/usr/lib/nagios/plugins", "Where command: finds plugins that are not in PATH."),
        ],
        see_also: &[
            ("healthprobe-targets", "5"),
            ("certcheck", "8"),
            ("backup-verify", "8"),
            ("nightshift-journal", "5"),
            ("nightshift", "7"),
            ("systemctl", "1"),
        ],
    },
    Page {
        tool: "logrotate-lite",
        environment: &[(
            "HOME, TZ",
            "What ~/ stands for in the configuration, and the zone whose days and hours count. Scripts of the \
             configuration inherit the whole environment; compressors and mailers get PATH, HOME, USER, LOGNAME, LANG, \
             LC_*, TZ and TMPDIR.",
        )],
        files: &[
            (
                "/etc/logrotate.conf, /etc/logrotate.d/*",
                "The configuration, where it is named as CONFIG; see logrotate-lite.conf(5).",
            ),
            ("/var/lib/logrotate/status", "When each log was rotated last; --state names another file."),
            (
                "STATE.interrupted",
                "The logs that are being rotated. Where a run was killed, the next one runs their scripts, so that no \
                 daemon goes on writing into an old copy.",
            ),
            (
                ".NAME.rotating, .NAME.copying, .NAME.truncating",
                "A log that was taken away, a copy that is being made, and the record of what is about to be cut off. They \
                 exist for an instant, or when a run was killed; the next one goes on from there. Do not remove them.",
            ),
            (".NAME.gz.partial", "A copy that is being compressed. The next run removes what a killed one left."),
        ],
        see_also: &[
            ("logrotate-lite.conf", "5"),
            ("logrotate", "8"),
            ("nightshift-journal", "5"),
            ("nightshift", "7"),
            ("fallocate", "2"),
        ],
    },
];
