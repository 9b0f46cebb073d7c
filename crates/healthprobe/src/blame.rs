//! Who is to blame: a target that is not well because of one it needs is shown as blocked, and only the cause as bad.
//!
//! All targets are looked at at once, so what a target needs is asked for afterwards. One that is well although what it
//! needs is not, stays well.

use crate::schedule::Look;
use crate::target::Target;
use anyhow::anyhow;
use common::status::Status;
use std::collections::HashMap;
use std::sync::Arc;

/// Marks what is not well because of something else.
pub(crate) fn block(targets: &[Arc<Target>], looks: &mut [Look]) {
    let numbers: HashMap<&str, usize> =
        targets.iter().enumerate().map(|(number, target)| (target.subject.as_str(), number)).collect();
    let is_down: Vec<bool> =
        looks.iter().map(|look| matches!(look.found.verdict(), Status::Critical | Status::Unknown)).collect();
    let causes: Vec<Option<usize>> =
        (0..targets.len()).map(|number| cause(number, targets, &numbers, &is_down)).collect();
    for (number, cause) in causes.into_iter().enumerate() {
        let is_well = looks[number].found.verdict() == Status::Ok;
        if let Some(cause) = cause.filter(|_| !is_well) {
            looks[number].blocked_by = Some(targets[cause].subject.clone());
        }
    }
}

/// The target that is at the beginning of the trouble of another, however many lie between.
fn cause(number: usize, targets: &[Arc<Target>], numbers: &HashMap<&str, usize>, is_down: &[bool]) -> Option<usize> {
    let needs = targets[number].needs.iter().filter_map(|need| numbers.get(need.as_str()).copied());
    // Needs in a circle were refused, so this ends.
    needs.filter(|need| is_down[*need]).map(|need| cause(need, targets, numbers, is_down).unwrap_or(need)).next()
}

/// The mistake of targets that need each other.
pub(crate) fn circle(targets: &[Target]) -> Option<anyhow::Error> {
    let mut left: Vec<&Target> = targets.iter().filter(|target| !target.needs.is_empty()).collect();
    loop {
        // Whoever needs nobody that is left can be judged, and is no part of a circle.
        let names: Vec<&str> = left.iter().map(|target| target.subject.as_str()).collect();
        let (waiting, judged): (Vec<_>, Vec<_>) =
            left.iter().partition(|target| target.needs.iter().any(|need| names.contains(&need.as_str())));
        if waiting.is_empty() {
            return None;
        }
        if judged.is_empty() {
            return Some(anyhow!("{}: what it needs needs this target, too: {}", left[0].place, names.join(", ")));
        }
        left = waiting;
    }
}
