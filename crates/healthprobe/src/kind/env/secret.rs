//! Secrets that are none: defaults, words from every list, one character over and over, the same one twice.
//!
//! What is told is that a secret is weak and why, in words that fit thousands of secrets: never its length.

use super::finding::{Finding, Weight, shown};
use super::format;
use super::rules;
use common::envfile::{EnvFile, Var};

/// What everybody tries first; compared after digits at the ends are gone and `@`, `0`, `3` and the like are letters.
const KNOWN: [&str; 58] = [
    "admin",
    "administrator",
    "app",
    "bar",
    "changeit",
    "dbpassword",
    "default",
    "demo",
    "dev",
    "development",
    "elastic",
    "foo",
    "foobar",
    "guest",
    "hunter",
    "iloveyou",
    "insecure",
    "jwt",
    "jwtsecret",
    "keyboardcat",
    "letmein",
    "local",
    "localdev",
    "master",
    "minio",
    "minioadmin",
    "mongo",
    "mypassword",
    "mysecret",
    "mysecretpassword",
    "mysql",
    "nopassword",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "postgres",
    "postgresql",
    "production",
    "qwerty",
    "rabbitmq",
    "redis",
    "root",
    "sa",
    "secret",
    "secretkey",
    "secretpassword",
    "session",
    "sessionsecret",
    "shhhh",
    "staging",
    "superadmin",
    "supersecret",
    "test",
    "testing",
    "toor",
    "user",
    "welcome",
];
/// How defaults of frameworks begin.
const BEGINNINGS: [&str; 4] = ["django-insecure-", "insecure-", "dev-secret", "dev_secret"];

/// Below this a password is guessed, and a key by which things are signed.
const SHORT_PASSWORD: usize = 12;
const SHORT_KEY: usize = 16;

/// What a name says that a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// Typed or generated, for a login.
    Password,
    /// Generated: signs, encrypts, or opens somebody's interface.
    Key,
}

/// What is wrong with a variable that holds a secret.
pub(super) fn judge(var: &Var, file: &EnvFile, example: Option<&EnvFile>) -> Option<Finding> {
    let value = var.value.expose();
    if value.is_empty() {
        return None;
    }
    let Some(sort) = sort(&var.name) else { return in_url(var) };
    // A reference is somebody else's value, a path names a file that holds it.
    if var.refers || value.starts_with('/') || value.contains("://") {
        return in_url(var);
    }
    let is_of_example =
        example.is_some_and(|example| example.get(&var.name).is_some_and(|other| other.expose() == value));
    if is_of_example {
        return Some(Finding::of(var, Weight::Fault, "has the value of the example"));
    }
    if is_known(value) || is_user(var, file) {
        return Some(Finding::of(var, Weight::Fault, "is a secret that everybody tries first"));
    }
    if let Some(words) = weakness(value, sort) {
        return Some(Finding::of(var, Weight::Doubt, words));
    }
    shared(var, sort, file)
}

/// Why a secret is weak.
fn weakness(value: &str, sort: Sort) -> Option<&'static str> {
    let least = if sort == Sort::Password { SHORT_PASSWORD } else { SHORT_KEY };
    if value.chars().count() < least {
        return Some(match sort {
            Sort::Password => "is a weak secret: a password has 12 characters or more",
            Sort::Key => "is a weak secret: a key has 16 characters or more",
        });
    }
    let bits = entropy(value);
    let wanted = if sort == Sort::Password { 28.0 } else { 40.0 };
    (bits < wanted || is_run(value)).then_some("is a weak secret: it follows a pattern")
}

/// The bits of a text whose characters were drawn as often as they occur in it. Source: Shannon.
fn entropy(value: &str) -> f64 {
    let mut counts = std::collections::HashMap::new();
    for character in value.chars() {
        *counts.entry(character).or_insert(0_usize) += 1;
    }
    let all = value.chars().count() as f64;
    counts.values().map(|count| *count as f64).map(|count| -count * (count / all).log2()).sum()
}

/// `abcdefgh…`, `1234…`, or a short piece over and over.
fn is_run(value: &str) -> bool {
    let chars: Vec<u32> = value.chars().map(u32::from).collect();
    let steps = chars.windows(2).filter(|pair| pair[1] == pair[0] + 1 || pair[0] == pair[1] + 1).count();
    let is_repeated =
        |length: usize| chars.len() >= 2 * length && (length..chars.len()).all(|at| chars[at] == chars[at - length]);
    steps * 4 >= chars.len() * 3 || (1..=4).any(is_repeated)
}

fn is_known(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let word = |text: &str| KNOWN.contains(&text);
    let trimmed = lower.trim_matches(|c: char| c.is_ascii_digit() || "!.?-_#$@*+ ".contains(c));
    let letters = |text: &str| -> String {
        let plain = |c: char| match c {
            '0' => 'o',
            '1' => 'i',
            '3' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            c => c,
        };
        text.chars().filter(|c| !"-_ .".contains(*c)).map(plain).collect()
    };
    let is_number = lower.bytes().all(|byte| byte.is_ascii_digit()) && lower.len() <= 10;
    is_number
        || word(trimmed)
        || word(&letters(trimmed))
        || word(&letters(&lower))
        || BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning))
}

/// `DB_PASSWORD` that is the value of `DB_USER`, or of `DB_NAME`.
fn is_user(var: &Var, file: &EnvFile) -> bool {
    let Some((stem, _)) = var.name.rsplit_once('_') else { return false };
    let names = ["USER", "USERNAME", "NAME", "DATABASE", "DB"];
    names.iter().filter_map(|end| file.get(&format!("{stem}_{end}"))).any(|other| other.expose() == var.value.expose())
}

/// The password in a URL of whatever kind.
fn in_url(var: &Var) -> Option<Finding> {
    let url = format::url(var.value.expose())?;
    if url.password.is_empty() || var.refers {
        return None;
    }
    if is_known(url.password) || url.password == url.user {
        return Some(Finding::of(var, Weight::Fault, "holds a password that everybody tries first"));
    }
    (url.password.chars().count() < 8 || is_run(url.password))
        .then(|| Finding::of(var, Weight::Doubt, "holds a weak password"))
}

/// One key for two purposes: who learns the one has the other. The parts of one login may well be the same.
fn shared(var: &Var, sort: Sort, file: &EnvFile) -> Option<Finding> {
    if sort == Sort::Password {
        return None;
    }
    let is_same = |other: &&Var| {
        other.line < var.line
            && other.name != var.name
            && self::sort(&other.name) == Some(Sort::Key)
            && other.value.expose() == var.value.expose()
    };
    let other = rules::in_force(file).find(is_same)?;
    let words = format!("is the same secret as {} (line {})", shown(&other.name), other.line);
    Some(Finding::of(var, Weight::Doubt, words))
}

/// Whether a name is that of a secret.
fn sort(name: &str) -> Option<Sort> {
    let upper = name.to_ascii_uppercase();
    let words: Vec<&str> = upper.split(['_', '-', '.']).collect();
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
    const NOT: [&str; 38] = [
        "PUBLIC",
        "PUBLISHABLE",
        "NAME",
        "ID",
        "FILE",
        "PATH",
        "DIR",
        "URL",
        "URI",
        "HOST",
        "PORT",
        "TTL",
        "EXPIRES",
        "EXPIRY",
        "EXPIRATION",
        "EXPIRE",
        "LIFETIME",
        "LENGTH",
        "MIN",
        "MAX",
        "HEADER",
        "ALGORITHM",
        "ALG",
        "ISSUER",
        "AUDIENCE",
        "TYPE",
        "DAYS",
        "HOURS",
        "MINUTES",
        "SECONDS",
        "ROUNDS",
        "PREFIX",
        "FIELD",
        "RESET",
        "ENABLED",
        "REQUIRED",
        "REGION",
        "VERSION",
    ];
    if has(&NOT) {
        return None;
    }
    if has(&["PASSWORD", "PASSWD", "PASS", "PWD", "PASSPHRASE", "PASSWORT"]) {
        return Some(Sort::Password);
    }
    const OWNERS: [&str; 20] = [
        "API",
        "SECRET",
        "PRIVATE",
        "ACCESS",
        "ENCRYPTION",
        "ENC",
        "SIGNING",
        "SIGN",
        "APP",
        "MASTER",
        "JWT",
        "SESSION",
        "COOKIE",
        "AUTH",
        "WEBHOOK",
        "HMAC",
        "SERVICE",
        "CRYPTO",
        "CIPHER",
        "BASE",
    ];
    let is_key = words.windows(2).any(|pair| matches!(pair[1], "KEY" | "KEYS") && OWNERS.contains(&pair[0]));
    let is_named = has(&["SECRET", "SECRETS", "TOKEN", "APIKEY", "SALT", "PEPPER", "CREDENTIAL", "CREDENTIALS"]);
    (is_named || is_key).then_some(Sort::Key)
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn weight(text: &str) -> Option<Weight> {
        let file = file(text);
        judge(file.vars.last().unwrap(), &file, None).map(|finding| finding.weight)
    }

    #[test]
    fn secrets_that_everybody_knows_are_faults() {
        for text in [
            "DB_PASSWORD=postgres\n",
            "ADMIN_PASSWORD=P@ssw0rd123\n",
            "SESSION_SECRET='keyboard cat'\n",
            "JWT_SECRET=supersecret\n",
            "SECRET_KEY=django-insecure-k8s92nf82hf82hf82hf8\n",
            "POSTGRES_PASSWORD=mysecretpassword\n",
            "API_KEY=12345678\n",
            "DB_USER=shop_owner_role\nDB_PASSWORD=shop_owner_role\n",
            "DATABASE_URL=postgres://app:app@db/app\n",
            "REDIS_URL=redis://:redis@cache:6379\n",
            "PGPASSWORD=secret\nDB_PASS=Secret1!\n",
        ] {
            assert_eq!(weight(text), Some(Weight::Fault), "{text}");
        }
    }

    #[test]
    fn short_and_patterned_secrets_are_doubts() {
        for text in [
            "JWT_SECRET=k3Jd9sQ\n",
            "DB_PASSWORD=k3Jd9sQw\n",
            "API_TOKEN=aaaaaaaaaaaaaaaaaaaaaaaa\n",
            "ENCRYPTION_KEY=abcdefghijklmnopqrstuvwxyz\n",
            "APP_SECRET=abcabcabcabcabcabcabc\n",
            "MQ_URL=amqp://app:k3J@mq\n",
            "A_SECRET=f81d4fae7dec11d0a765\nB_SECRET=f81d4fae7dec11d0a765\n",
        ] {
            assert_eq!(weight(text), Some(Weight::Doubt), "{text}");
        }
    }

    #[test]
    fn good_secrets_and_names_that_hold_none_are_left_alone() {
        for text in [
            "JWT_SECRET=f81d4fae7dec11d0a76500a0c91e6bf6\n",
            "DB_PASSWORD='correct horse battery'\n",
            "APP_KEY=base64:Zm9vYmFyYmF6cXV4MTIz\n",
            "DATABASE_URL=postgres://app:k3Jd9sQwX@db/app\n",
            "STRIPE_PUBLISHABLE_KEY=pk\n",
            "TOKEN_LIFETIME=60\n",
            "KEYBOARD=us\n",
            "PASSWORD_RESET_URL=https://a.test\n",
            "JWT_SECRET_FILE=/run/secrets/jwt\n",
            "SECRET_KEY=\n",
            "DB_PASSWORD=${OTHER}\n",
            "DB_PASSWORD=k3Jd9sQwXyz1\nPGPASSWORD=k3Jd9sQwXyz1\n",
            "MONKEY=x\n",
            "AWS_ACCESS_KEY_ID=AKIA\n",
            "SSL_KEY_PATH=x\n",
        ] {
            assert_eq!(weight(text), None, "{text}");
        }
    }

    #[test]
    fn the_value_of_the_example_is_a_fault() {
        let (file, example) =
            (file("APP_SECRET=f81d4fae7dec11d0a76500a0\n"), file("APP_SECRET=f81d4fae7dec11d0a76500a0\n"));

        assert_eq!(judge(&file.vars[0], &file, Some(&example)).unwrap().weight, Weight::Fault);
        assert_eq!(judge(&file.vars[0], &file, None), None);
    }
}
