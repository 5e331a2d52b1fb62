//! `POST /v1/embeddings`: vectors of the space that search uses.
//!
//! There is one space per server, so `model` names it or is left out. `input_type` (`query` or
//! `passage`) is an addition that several servers share: models that embed questions and
//! passages differently need to know. Without it texts are passages.

use std::fmt;
use std::sync::Arc;

use atlas_domain::{Fault, Retry};
use atlas_embed::Purpose;
use atlas_retrieval::{EmbeddingState, Retrieval, RetrievalError};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::body::{json_answer, read_body};
use super::refusal::{RETRY_DEFAULT, missing, no_such_model, wrong};
use super::request::named;
use super::vectors;
use crate::error::chain;
use crate::extract::Whole;
use crate::problem::Problem;
use crate::tenant_header::NamedTenant;

/// OpenAI's own limit, which clients split their lists by.
const MOST_INPUTS: usize = 2_048;

#[derive(Debug, Deserialize)]
struct Body {
    model: Option<String>,
    input: Option<Input>,
    dimensions: Option<usize>,
    encoding_format: Option<String>,
    input_type: Option<String>,
}

/// One text or many; of token numbers only that they were sent.
#[derive(Debug)]
struct Input {
    texts: Vec<String>,
    tokens: bool,
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Input;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or an array of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Input, E> {
                Ok(Input { texts: vec![text.to_owned()], tokens: false })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Input, A::Error> {
                let mut input = Input { texts: Vec::new(), tokens: false };
                while let Some(item) = items.next_element()? {
                    match item {
                        Item::Text(text) => input.texts.push(text),
                        Item::Tokens => input.tokens = true,
                    }
                }
                Ok(input)
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

enum Item {
    Text(String),
    Tokens,
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTokens;

        impl<'de> Visitor<'de> for TextOrTokens {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Item, E> {
                Ok(Item::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Item, E> {
                Ok(Item::Text(text))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Item, E> {
                Ok(Item::Tokens)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut tokens: A) -> Result<Item, A::Error> {
                while tokens.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Item::Tokens)
            }
        }

        deserializer.deserialize_any(TextOrTokens)
    }
}

/// What is asked, checked as far as it can be without the engine.
#[derive(Debug)]
struct Asked {
    model: Option<String>,
    texts: Vec<String>,
    dimensions: Option<usize>,
    base64: bool,
    purpose: Purpose,
}

impl Body {
    fn read(self) -> Result<Asked, Problem> {
        let Input { texts, tokens } = self.input.ok_or_else(|| missing("input"))?;
        if tokens {
            let problem = wrong("input", "it holds token numbers, whose meaning only their own model knows");
            return Err(problem.hint("send texts (in LangChain: check_embedding_ctx_length=False)"));
        }
        if texts.is_empty() {
            return Err(wrong("input", "it is empty"));
        }
        if texts.len() > MOST_INPUTS {
            return Err(wrong("input", "it holds more than 2048 texts"));
        }
        if let Some(at) = texts.iter().position(String::is_empty) {
            return Err(wrong("input", &format!("the text at {at} is empty")));
        }
        let base64 = match self.encoding_format.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => return Err(wrong("encoding_format", "it is not float or base64")),
        };
        let purpose = match self.input_type.as_deref() {
            None | Some("passage") => Purpose::Passage,
            Some("query") => Purpose::Query,
            Some(_) => return Err(wrong("input_type", "it is not query or passage")),
        };
        Ok(Asked { model: named(self.model), texts, dimensions: self.dimensions, base64, purpose })
    }
}

/// Vectors of texts.
pub(crate) async fn create(
    State(retrieval): State<Arc<Retrieval>>,
    NamedTenant(_): NamedTenant,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let asked = read_body(&headers, body, Body::read).await?;
    let space = match retrieval.embedding() {
        EmbeddingState::Ready { space } | EmbeddingState::Failing { space, .. } => space,
        EmbeddingState::KeywordsOnly => return Err(keywords_only()),
    };
    if let Some(model) = asked.model.filter(|model| *model != space.model) {
        return Err(no_such_model(&model, &[space.model]));
    }
    if asked.dimensions.is_some_and(|dimensions| dimensions != space.dimension) {
        return Err(wrong("dimensions", &format!("the model has {} and no others", space.dimension)));
    }
    let embedded = retrieval.embed_texts(asked.texts, asked.purpose).await.map_err(failed)?;
    let embedded = embedded.ok_or_else(keywords_only)?;
    Ok(json_answer(vectors::written(&embedded, asked.base64)))
}

fn keywords_only() -> Problem {
    let detail = "this server searches by keywords only and has no embedding model";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "embeddings_not_configured", detail)
        .hint("set EMBEDDING_PROVIDER to an engine that makes vectors, such as local")
}

fn failed(error: RetrievalError) -> Problem {
    let detail = chain(&error);
    tracing::warn!(error = %detail, "texts could not be embedded");
    let (status, code) = match error.fault() {
        Fault::Capacity => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded"),
        Fault::Caller => (StatusCode::BAD_REQUEST, "invalid_value"),
        Fault::Settings | Fault::Upstream | Fault::Ourselves => {
            (StatusCode::SERVICE_UNAVAILABLE, "embeddings_unavailable")
        }
    };
    let problem = Problem::new(status, code, detail);
    match error.retry() {
        Retry::After(wait) => problem.retry_after(wait),
        Retry::Now => problem.retry_after(RETRY_DEFAULT),
        Retry::Never => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(body: &str, param: &str, words: &str) {
        let body: Body = serde_json::from_str(body).expect("JSON of the right shape");
        let problem = body.read().expect_err("refused").to_openai();
        assert_eq!(problem["error"]["param"], param, "{problem}");
        assert!(problem["error"]["message"].as_str().expect("text").contains(words), "{problem}");
    }

    #[test]
    fn what_cannot_be_embedded_is_refused_with_the_reason() {
        refused("{}", "input", "missing");
        refused(r#"{"input":[]}"#, "input", "empty");
        refused(r#"{"input":""}"#, "input", "empty");
        refused(r#"{"input":["a",""]}"#, "input", "at 1");
        refused(r#"{"input":[1,2]}"#, "input", "token numbers");
        refused(r#"{"input":[[1,2],[3]]}"#, "input", "token numbers");
        refused(r#"{"input":"a","encoding_format":"int8"}"#, "encoding_format", "base64");
        refused(r#"{"input":"a","input_type":"other"}"#, "input_type", "query");
        let many = format!(r#"{{"input":[{}"a"]}}"#, r#""a","#.repeat(2_048));
        refused(&many, "input", "2048");
    }

    #[test]
    fn one_text_is_a_list_of_one() {
        let body: Body =
            serde_json::from_str(r#"{"model":"default","input":"a","input_type":"query","user":"x"}"#)
                .expect("JSON");
        let asked = body.read().expect("fine");
        assert_eq!((asked.texts, asked.model, asked.base64), (vec!["a".to_owned()], None, false));
        assert_eq!(asked.purpose, Purpose::Query);
    }
}
