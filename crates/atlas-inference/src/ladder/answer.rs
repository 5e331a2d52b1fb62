//! The rungs from the policy to a first answer.

use std::time::{Duration, Instant as Clock};

use atlas_domain::{Check, CheckStatus, ProviderError, ProviderErrorKind as Kind};
use atlas_llm::{Finish, Inspection};
use tokio::time::{Instant, timeout_at};

use super::{Ladder, TO_AN_ANSWER, questions};
use crate::call::egress;
use crate::hints::hint_for;
use crate::inference::retirement;

/// What is asked before the first answer only helps to explain it: a provider that is slow to list
/// its models does not fail the test.
const INSPECT_LIMIT: Duration = Duration::from_secs(5);

const SLOW_LOAD: &str = "The server took the request and said nothing: it is probably still loading the model, or too slow for its \
     size. Wait a minute and test again; on a server of your own, keep the model loaded.";

impl Ladder<'_> {
    /// Climbs until the model has answered, and says how long the answer took. `None`: the checks
    /// say which rung failed.
    pub(super) async fn climb_to_an_answer(&mut self) -> Option<Duration> {
        let latency = self.try_to_get_an_answer().await;
        if latency.is_none() {
            self.skip(&TO_AN_ANSWER);
        }
        latency
    }

    async fn try_to_get_an_answer(&mut self) -> Option<Duration> {
        self.clear()?;
        self.reach().await?;
        self.inspect().await?;
        self.chat().await
    }

    /// The guard's verdict on this destination is part of what is tested.
    fn clear(&mut self) -> Option<()> {
        let started = Clock::now();
        let destination = self.route.model.destination();
        match self.inference.guard.clear(String::new(), destination) {
            Ok(_) => Some(()),
            Err(refusal) => {
                self.put(self.failed("policy", started, &egress(refusal)));
                None
            }
        }
    }

    async fn reach(&mut self) -> Option<()> {
        let started = Clock::now();
        let checks = timeout_at(self.limit(), self.route.model.reach()).await;
        let checks = checks.unwrap_or_else(|_| {
            let error = ProviderError::timeout("connect");
            vec![self.failed("tcp", started, &error)]
        });
        let failed = checks.iter().any(|check| check.status == CheckStatus::Failed);
        self.checks.extend(checks);
        (!failed).then_some(())
    }

    async fn inspect(&mut self) -> Option<()> {
        let started = Clock::now();
        let limit = self.limit().min(Instant::now() + INSPECT_LIMIT);
        let asked = timeout_at(limit, self.route.model.inspect()).await;
        match asked.unwrap_or_else(|_| Err(ProviderError::timeout("inspection, 5 s"))) {
            Ok(inspection) => self.inspected(inspection, started),
            Err(error) if error.kind() == Kind::Credentials => {
                self.put(self.failed("auth", started, &error));
                return None;
            }
            // Lists of models are often closed to keys that may use the models, or missing. Only
            // the answer below decides.
            Err(error) => {
                let id = if error.kind() == Kind::NotFound { "model" } else { "auth" };
                let detail =
                    format!("asking about the key and the model failed: {}", error.kind().sentence());
                let hint = "The short answer below decides; this only means that less is known beforehand.";
                self.put(Check::warning(id, started, error.code(), detail, hint));
            }
        }
        Some(())
    }

    fn inspected(&mut self, inspection: Inspection, started: Clock) {
        let Inspection {
            credentials_checked,
            model_listed,
            context_tokens,
            tools: _,
            identity,
            mut warnings,
        } = inspection;
        let mut detail = if credentials_checked {
            "the provider accepts the credentials".to_owned()
        } else {
            "the provider does not say before the first answer".to_owned()
        };
        if let Some(identity) = identity {
            detail.push_str(&format!("; we are {identity} there"));
        }
        self.put(Check::passed("auth", started, detail));

        self.context_tokens = context_tokens.or(self.context_tokens);
        warnings.extend(retirement(&self.route));
        let name = self.route.model.model();
        let known = match model_listed {
            Some(true) => format!("the provider lists {name}"),
            Some(false) => format!("the provider does not list {name}"),
            None => format!("{name} cannot be looked up before the first answer"),
        };
        let check = match (model_listed, warnings.is_empty()) {
            (Some(false), _) => {
                let hint = "Check BYOC_MODEL against the provider's list of models.";
                Check::warning("model", started, "model_not_listed", known, hint)
            }
            (_, false) => {
                let detail = format!("{known}; {}", warnings.join("; "));
                let hint = "Choose another model in time and test it with BYOC_MODEL.";
                Check::warning("model", started, "model_warning", detail, hint)
            }
            (_, true) => Check::passed("model", started, known),
        };
        self.put(check);
    }

    /// A real answer, through the client of real traffic.
    async fn chat(&mut self) -> Option<Duration> {
        let started = Clock::now();
        let heard = match self.hear(questions::word(), self.limit()).await {
            Ok(heard) => heard,
            Err(error) => {
                tracing::warn!(provider = self.route.served_by.provider, %error, "the connection test failed");
                // The failure belongs to the rung that stands for it, whatever that rung assumed.
                let id = match error.kind() {
                    Kind::Credentials | Kind::Forbidden => "auth",
                    Kind::NotFound => "model",
                    Kind::Egress => "policy",
                    _ => "chat",
                };
                self.put(self.failed(id, started, &error));
                return None;
            }
        };
        let finish = &heard.completion.finish;
        let wordless = heard.completion.text.trim().is_empty() && *finish != Finish::Length;
        let check = if wordless {
            let hint = "Check that BYOC_MODEL is a chat model; features will find its answers unusable.";
            Check::warning("chat", started, "answer_empty", "the model answered without a word", hint)
        } else {
            Check::passed("chat", started, format!("an answer in {} ms", heard.took.as_millis()))
        };
        self.put(check);
        // Two rungs that the answer has climbed on the way, if nothing could be said before.
        for (id, detail) in
            [("auth", "the provider answered with these credentials"), ("model", "the model answered")]
        {
            if !self.checks.iter().any(|check| check.id == id) {
                let before_chat = self.checks.len().saturating_sub(1);
                self.checks.insert(before_chat, Check::passed(id, started, detail));
            }
        }
        Some(heard.took)
    }

    /// A failed rung, with what to do.
    pub(super) fn failed(&self, id: &'static str, started: Clock, error: &ProviderError) -> Check {
        let slow = id == "chat" && error.kind() == Kind::Timeout;
        let hint = if slow { SLOW_LOAD } else { hint_for(&self.route.served_by.provider, error) };
        // An error event in the middle of a stream has no status and still the provider's words.
        let mut detail = error.summary();
        if let Some(status) = error.status() {
            detail.push_str(&format!(" (status {status})"));
        }
        Check::failed(id, started, error.code(), detail, hint)
    }
}
