//! The rungs beyond an answer: what the model can really do, whatever its vendor says.

use std::time::{Duration, Instant as Clock};

use atlas_domain::{Check, ProviderError, ProviderErrorKind as Kind};
use tokio::time::Instant;

use super::{DEEP, Heard, LIMIT, Ladder, questions};
use crate::audit::n_tokens;
use crate::route::{probe_tokens, was_cut};
use crate::structured::outermost_object;

/// Whoever gets the whole answer this soon does not mind whether it came in pieces.
const SOON: Duration = Duration::from_millis(100);
/// The shortest long prompt worth trying.
const SHORTEST_PROBE: u64 = 1_000;

/// Why a rung has no answer.
enum Unanswered {
    /// It says something about the model; the rung knows what.
    Refused(ProviderError),
    /// It says nothing about the model, and the check is written.
    Noted,
    /// Nobody is there any more.
    Gone,
}

impl Ladder<'_> {
    /// Measures what the model can do. A rung that finds something lacking does not stop the next
    /// one; a provider that is gone does.
    pub(super) async fn measure(&mut self) {
        // Each rung has its own limit now.
        self.end = None;
        let went = async {
            self.stream().await?;
            self.json_schema().await?;
            self.tools().await?;
            self.context().await
        };
        if went.await.is_none() {
            self.skip(&DEEP);
        }
    }

    async fn stream(&mut self) -> Option<()> {
        let started = Clock::now();
        let heard = match self.heard("stream", started, questions::list(), self.limit()).await {
            Ok(heard) => heard,
            Err(unanswered) => return self.unmeasured("stream", started, unanswered),
        };
        let gap = heard.pieces.map_or(Duration::ZERO, |(first, last)| last.duration_since(first));
        let incremental = heard.n_texts >= 3 && (heard.took < SOON || gap >= SOON || gap * 50 >= heard.took);
        self.profile.streaming = Some(incremental);
        let times = format!(
            "{} pieces within {} ms, of {} ms in all",
            heard.n_texts,
            gap.as_millis(),
            heard.took.as_millis()
        );
        self.put(if incremental {
            Check::passed("stream", started, times)
        } else {
            let hint = "A proxy in between or the server itself holds the stream back until the answer is complete. \
                        Turn response buffering off there (nginx: proxy_buffering off).";
            Check::failed("stream", started, "stream_buffered", times, hint)
        });
        Some(())
    }

    async fn json_schema(&mut self) -> Option<()> {
        let started = Clock::now();
        let kept = match self.heard("json_schema", started, questions::shaped(), self.limit()).await {
            Ok(heard) => outermost_object(&heard.completion.text).is_some_and(questions::has_the_shape),
            Err(Unanswered::Refused(error)) if error.kind() == Kind::BadRequest => false,
            Err(unanswered) => return self.unmeasured("json_schema", started, unanswered),
        };
        self.profile.json_schema = Some(kept);
        self.put(if kept {
            Check::passed("json_schema", started, "the answer has the asked shape, against an instruction to write prose")
        } else {
            let hint = "Features ask this model for plain JSON, validate every answer and have bad ones repaired, \
                        which costs time. A model or server with structured output does better.";
            let detail = "the answer does not have the asked shape";
            Check::warning("json_schema", started, "json_schema_not_kept", detail, hint)
        });
        Some(())
    }

    async fn tools(&mut self) -> Option<()> {
        let started = Clock::now();
        let called = match self.heard("tools", started, questions::errand(), self.limit()).await {
            Ok(heard) => heard.completion.tool_calls.iter().any(|call| {
                let arguments = serde_json::from_str::<serde_json::Value>(&call.arguments);
                call.name == questions::TOOL
                    && arguments.is_ok_and(|arguments| arguments["host"] == questions::HOST)
            }),
            Err(Unanswered::Refused(error)) if error.kind() == Kind::BadRequest => false,
            Err(unanswered) => return self.unmeasured("tools", started, unanswered),
        };
        self.profile.tools = Some(called);
        self.put(if called {
            Check::passed("tools", started, "the model asked for the tool with the right argument")
        } else {
            let hint = "Features do without tools with this model. On a server of your own, check that its tool \
                        parser is on (vLLM: --enable-auto-tool-choice and --tool-call-parser).";
            let detail = "the model did not ask for the tool it was told to use";
            Check::warning("tools", started, "tools_not_called", detail, hint)
        });
        Some(())
    }

    /// A number at the head of a long prompt, asked for at its end: a server that cuts prompts
    /// without a word loses it.
    async fn context(&mut self) -> Option<()> {
        let (started, end) = (Clock::now(), Instant::now() + LIMIT);
        let mut size = probe_tokens(self.context_tokens);
        loop {
            let (number, request) = questions::long(size);
            let sent = n_tokens(request.messages.iter().map(|turn| turn.text()).collect::<String>().as_str());
            match self.heard("context", started, request, end).await {
                Ok(heard) => {
                    let check = self.remembered(started, &heard, &number, sent);
                    self.put(check);
                    return Some(());
                }
                // An honest refusal: the context is smaller than what is known about it.
                Err(Unanswered::Refused(error))
                    if error.kind() == Kind::PromptTooLong && size / 2 >= SHORTEST_PROBE =>
                {
                    size /= 2;
                }
                Err(unanswered) => return self.unmeasured("context", started, unanswered),
            }
        }
    }

    fn remembered(&mut self, started: Clock, heard: &Heard, number: &str, sent: u64) -> Check {
        let completion = &heard.completion;
        let known = completion.text.contains(number);
        let counted = completion.usage.map(|usage| usage.input).filter(|input| *input > 0);
        let truncated = counted.is_some_and(|counted| was_cut(counted, sent));
        let size = match counted {
            Some(counted) => format!("{counted} tokens counted of about {sent} sent"),
            None => format!("about {sent} tokens sent, none counted by the provider"),
        };
        if truncated {
            self.profile.context_tokens = counted;
            let hint = "The server cuts long prompts without a word. Raise its context: num_ctx or \
                        OLLAMA_CONTEXT_LENGTH on Ollama, --max-model-len on vLLM, --ctx-size on llama.cpp.";
            return Check::failed("context", started, "context_truncated", size, hint);
        }
        if !known && counted.is_none() {
            // Cut or merely forgotten: without a count nobody can tell.
            let hint = "The model does not know what stood at the head of the prompt. Either the server cuts long \
                        prompts (raise its context), or the model is too weak for prompts of this length.";
            return Check::warning("context", started, "context_unknown", size, hint);
        }
        if !known {
            let hint = "The whole prompt was read; the model is too weak for prompts of this length, or thinks for too \
                        long. Prefer a stronger model for root cause analysis.";
            return Check::warning("context", started, "context_head_forgotten", size, hint);
        }
        self.profile.context_tokens = Some(counted.unwrap_or(sent));
        Check::passed("context", started, format!("{size}; the head of the prompt was known at its end"))
    }

    /// Asks, and sorts what went wrong by what it says about the model.
    async fn heard(
        &mut self,
        id: &'static str,
        started: Clock,
        request: atlas_llm::ChatRequest,
        limit: Instant,
    ) -> Result<Heard, Unanswered> {
        let error = match self.hear(request, limit).await {
            Ok(heard) => return Ok(heard),
            Err(error) => error,
        };
        match error.kind() {
            Kind::Timeout => {
                let hint = "The model is too slow for this rung; what it measures stays unknown.";
                self.put(Check::warning(id, started, error.code(), "no answer within 15 s", hint));
                Err(Unanswered::Noted)
            }
            kind if kind.is_unavailable() || kind == Kind::Credentials => {
                self.put(self.failed(id, started, &error));
                Err(Unanswered::Gone)
            }
            _ => Err(Unanswered::Refused(error)),
        }
    }

    /// What the rung should have measured stays as it was.
    fn unmeasured(&mut self, id: &'static str, started: Clock, unanswered: Unanswered) -> Option<()> {
        match unanswered {
            Unanswered::Noted => Some(()),
            Unanswered::Gone => None,
            Unanswered::Refused(error) => {
                self.put(self.failed(id, started, &error));
                Some(())
            }
        }
    }
}
