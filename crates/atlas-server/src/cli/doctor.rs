//! `doctor`: the connection test and the machine, on the command line.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use atlas_config::Live;
use atlas_domain::{Check, CheckStatus};
use atlas_guard::Guard;
use atlas_inference::Inference;
use serde::Serialize;

use super::Output;
use super::arguments::DoctorArguments;
use crate::diagnose::{self, Subject};
use crate::plugs::{self, Plugged};

#[derive(Serialize)]
struct Report<'a> {
    status: &'static str,
    checks: &'a [Check],
}

/// Checks everything and prints it. The exit code is 0 when all is well, 1 when something should
/// be known, 2 when something does not work.
pub(crate) async fn run(
    arguments: DoctorArguments,
    live: Live,
    output: &mut Output,
) -> anyhow::Result<ExitCode> {
    let settings = live.snapshot().settings.clone();
    let mut checks = diagnose::machine::checks(&settings.data_dir);
    // The store stays closed: a server may be running on it.
    let inference = Inference::new(Arc::new(Guard::new()));
    let plugged =
        Plugged::make(live.snapshot(), Arc::default()).await.context("the settings could not be prepared")?;
    inference.apply(plugged.plugs);
    let subject = Subject {
        live: &live,
        inference: &inference,
        control_plane: plugged.control_plane,
        embedding: plugs::embedding::load(&settings, &plugged.ground)
            .await
            .map_err(|error| error.to_string()),
        index: None,
    };
    checks.extend(diagnose::connection(subject, arguments.deep).await.checks);
    let worst = worst(&checks);
    if arguments.json {
        let status = match worst {
            0 => "ok",
            1 => "warning",
            _ => "failed",
        };
        output.json(&Report { status, checks: &checks })?;
    } else {
        for check in &checks {
            for line in lines(check) {
                output.line(&line)?;
            }
        }
    }
    Ok(ExitCode::from(worst))
}

fn worst(checks: &[Check]) -> u8 {
    let rank = |check: &Check| match check.status {
        CheckStatus::Passed | CheckStatus::Skipped => 0,
        CheckStatus::Warning => 1,
        CheckStatus::Failed => 2,
    };
    checks.iter().map(rank).max().unwrap_or(0)
}

fn lines(check: &Check) -> Vec<String> {
    let verdict = match check.status {
        CheckStatus::Passed => "ok  ",
        CheckStatus::Warning => "WARN",
        CheckStatus::Failed => "FAIL",
        CheckStatus::Skipped => "skip",
    };
    let mut lines = vec![format!("{verdict}  {:<13} {} ({} ms)", check.id, check.detail, check.ms)];
    lines.extend(check.hint.as_ref().map(|hint| format!("      {:<13} {hint}", "")));
    lines
}
