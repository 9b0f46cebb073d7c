//! What the operator asks of variables, and what holds for every file: set, once, in the form that was asked for.

use super::finding::{Finding, Weight, shown};
use super::options::Wanted;
use common::envfile::{EnvFile, Var};
use std::collections::{BTreeSet, HashMap};

/// The variables as an application has them: of two with one name the later.
pub(super) fn in_force(file: &EnvFile) -> impl Iterator<Item = &Var> {
    let mut last = HashMap::new();
    for (number, var) in file.vars.iter().enumerate() {
        last.insert(var.name.as_str(), number);
    }
    file.vars
        .iter()
        .enumerate()
        .filter(move |(number, var)| last.get(var.name.as_str()) == Some(number))
        .map(|(_, var)| var)
}

/// Everything that is asked, and is not so.
pub(super) fn all(file: &EnvFile, example: Option<&EnvFile>, wanted: &Wanted) -> Vec<Finding> {
    let mut found = missing(file, example, wanted);
    found.extend(unreadable(file, wanted));
    found.extend(twice(file));
    for var in in_force(file) {
        found.extend(of_var(var, wanted));
    }
    found
}

fn of_var(var: &Var, wanted: &Wanted) -> Vec<Finding> {
    let value = var.value.expose();
    let fault = |text: String| Finding::of(var, Weight::Fault, text);
    let mut found = Vec::new();
    if var.refers && !wanted.ignores(&var.name) {
        let text = "refers to another variable, which not every reader follows";
        found.push(Finding::of(var, Weight::Doubt, text));
    }
    // What is not set has no form; whether it has to be set is another question.
    if value.is_empty() || var.refers {
        return found;
    }
    for (_, format) in wanted.formats.iter().filter(|(names, _)| names.fit(&var.name)) {
        if !format.fits(value) {
            found.push(fault(format.objection().to_owned()));
        }
    }
    for (_, choices) in wanted.choices.iter().filter(|(names, _)| names.fit(&var.name)) {
        if !choices.iter().any(|choice| choice == value) {
            found.push(fault(format!("is none of {}", choices.join(", "))));
        }
    }
    for (_, length) in wanted.lengths.iter().filter(|(names, _)| names.fit(&var.name)) {
        if value.chars().count() < *length {
            found.push(fault(format!("is shorter than the {length} characters that are asked for")));
        }
    }
    found
}

/// Variables that have to be there and are not, or are empty.
fn missing(file: &EnvFile, example: Option<&EnvFile>, wanted: &Wanted) -> Vec<Finding> {
    let of_example = example.into_iter().flat_map(in_force).map(|var| var.name.as_str());
    let of_example = of_example.filter(|name| !wanted.ignores(name));
    let required: BTreeSet<&str> = wanted.required.iter().map(String::as_str).collect();
    let names: BTreeSet<&str> = required.iter().copied().chain(of_example).collect();
    let mut absent = Vec::new();
    let mut found = Vec::new();
    for name in names {
        let var = file.vars.iter().rev().find(|var| var.name == name);
        match var {
            // The operator wrote a required name; one of the example may be anything.
            None if required.contains(name) => absent.push(name),
            None => absent.push(shown(name)),
            Some(var) if required.contains(name) && var.value.expose().trim().is_empty() => {
                found.push(Finding::at(var.line, Some(name), Weight::Fault, "is empty"));
            }
            Some(_) => {}
        }
    }
    if !absent.is_empty() {
        let verb = if absent.len() == 1 { "is" } else { "are" };
        found.push(Finding::of_file("required", Weight::Fault, format!("{} {verb} missing", absent.join(", "))));
    }
    found
}

/// Lines that name a variable and give it no value to be relied on.
fn unreadable(file: &EnvFile, wanted: &Wanted) -> Vec<Finding> {
    let told = file.unreadable.iter().map(|line| {
        let weight = if wanted.required.contains(&line.name) { Weight::Fault } else { Weight::Doubt };
        Finding::at(line.line, Some(&line.name), weight, format!("cannot be relied on: {}", line.why))
    });
    told.collect()
}

/// Of two with one name most readers take the later, dotenvy the earlier.
fn twice(file: &EnvFile) -> Vec<Finding> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::new();
    for var in &file.vars {
        match first.get(var.name.as_str()) {
            Some(line) => {
                let text = format!("is set a second time, first on line {line}: readers do not agree which counts");
                found.push(Finding::of(var, Weight::Doubt, text));
            }
            None => drop(first.insert(&var.name, var.line)),
        }
    }
    found
}
