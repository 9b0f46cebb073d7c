//! What an admin should know about a stanza that parses: it cannot do what it seems to say, or invites trouble.

use super::{Every, Stanza};

/// What makes a stanza wrong, in words that follow its place.
pub fn problems(stanza: &Stanza) -> Vec<String> {
    let rules = &stanza.rules;
    let mut problems = Vec::new();
    if rules.pruneorphans && rules.maxage_days == 0 {
        problems.push("pruneorphans needs maxage: it says how old a copy of a log that is gone may get".to_owned());
    }
    if rules.dateextunique && !rules.dateext {
        problems.push("dateextunique needs dateext".to_owned());
    }
    problems
}

/// Advice on a stanza, each with what to do about it.
pub fn advice(stanza: &Stanza) -> Vec<(String, String)> {
    let rules = &stanza.rules;
    let mut advice = Vec::new();
    let mut say = |what: String, hint: &str| advice.push((what, hint.to_owned()));
    let slow = matches!(rules.every, Every::Day | Every::Week(_) | Every::Month(_) | Every::Year);
    if rules.maxsize > 0 && slow && rules.dateext && rules.dateformat.is_none() && !rules.dateextunique {
        say(
            "maxsize may ask for a second rotation on one day, whose dateext name is taken then".to_owned(),
            "add dateextunique, or a dateformat with the hour (dateformat -%Y%m%d-%H%M%S)",
        );
    }
    if rules.maxsize > 0 && slow {
        say(
            format!("maxsize is finer than {}: it is looked at only when this program runs", rules.every.keyword()),
            "run it every hour, or from a timer as often as the log may grow by that much",
        );
    }
    if let Every::Size(_) = rules.every
        && rules.maxsize > 0
    {
        say("maxsize means nothing beside size".to_owned(), "remove one of the two, or name a schedule such as daily");
    }
    if let Every::Minutes(minutes) = rules.every
        && minutes < 60
    {
        say(format!("minutes {minutes} is finer than an hour"), "it needs a timer that runs as often as that");
    }
    if rules.delaycompress && !rules.compress {
        say("delaycompress means nothing without compress".to_owned(), "add compress, or remove it");
    }
    if rules.copytruncate && rules.create {
        say("create means nothing beside copytruncate: the log stays".to_owned(), "remove one of the two");
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Place, Rules};

    fn stanza(rules: Rules) -> Stanza {
        let place = Place { file: "f".into(), line: 1 };
        Stanza { pattern: "/x".into(), files: vec![], words: vec!["/x".into()], rules, place }
    }

    #[test]
    fn a_size_that_is_finer_than_the_schedule_is_pointed_out() {
        let daily = Rules { every: Every::Day, maxsize: 1, ..Rules::default() };

        assert!(advice(&stanza(daily)).iter().any(|(what, _)| what.contains("finer than daily")));
        assert!(advice(&stanza(Rules { every: Every::Hour, maxsize: 1, ..Rules::default() })).is_empty());
    }

    #[test]
    fn orphans_have_no_count_so_they_need_an_age() {
        let rules = Rules { pruneorphans: true, ..Rules::default() };

        assert_eq!(problems(&stanza(rules.clone())).len(), 1);
        assert_eq!(problems(&stanza(Rules { maxage_days: 7, ..rules })).len(), 0);
    }
}
